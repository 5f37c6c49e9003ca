import assert from "node:assert/strict";
import { constants as os } from "node:os";
import { describe, it } from "node:test";
import { AUDIT_ARCH } from "./compile.ts";
import { defaultSeccomp } from "./default.ts";
import { DENIALS_MAX, explainRefusal, SyscallTally } from "./explain.ts";
import { decodeProgram, runProgram, type SeccompData } from "./interpret.ts";
import { RET, syscallNames, syscallNumber } from "./resolve.ts";

function call(name: string, ...args: readonly number[]): SeccompData {
  return { nr: syscallNumber("x86-64", name) ?? -1, arch: AUDIT_ARCH["x86-64"], args: args.map(BigInt) };
}

function explained(name: string, ...args: readonly number[]): string {
  const { call: what, reason } = explainRefusal("x86-64", call(name, ...args));
  return `${what}: ${reason}`;
}

describe("why a system call is refused", () => {
  it("gives the group's reason for one that is refused whatever its arguments", () => {
    assert.equal(
      explained("unshare", 0),
      "unshare: new namespaces reopen the kernel's surface to root of their own",
    );
    assert.match(explained("ptrace", 0), /^ptrace: other processes' memory/);
    assert.match(explained("clone3", 0), /^clone3: its flags lie in memory.*libc falls back to clone$/);
  });

  it("names the argument that decided", () => {
    assert.match(explained("socket", 16, 3, 0), /^socket\(domain=AF_NETLINK\): netlink, packet/);
    assert.match(
      explained("socket", 2, 3, 1),
      /^socket\(type=SOCK_RAW, protocol=1\): allowed are only: TCP and UDP/,
    );
    assert.match(explained("socket", 10, 1, 132), /^socket\(protocol=132\): allowed are only: TCP and UDP/);
    assert.match(
      explained("clone", 0x1000_0000 + 0x2_0000 + 17),
      /^clone\(flags=CLONE_NEWNS\|CLONE_NEWUSER\): allowed are only: threads and children, in no new namespace$/,
    );
    assert.match(
      explained("ioctl", 0, 0x5412),
      /^ioctl\(request=TIOCSTI\): allowed are only: every ioctl but those/,
    );
    assert.match(
      explained("fchmodat", 0, 0, 0o4755),
      /^fchmodat\(mode=04755\): allowed are only: no set-user-ID/,
    );
    assert.match(
      explained("openat", 0, 0, 0o101, 0o4755),
      /^openat\(mode=04755\): allowed are only: no set-user-ID/,
    );
    assert.match(
      explained("mknodat", 0, 0, 0o20666),
      /^mknodat\(mode=020666\): allowed are only: files, FIFOs/,
    );
    assert.match(
      explained("personality", 0x40000),
      /^personality\(persona=0x40000\): allowed are only: Linux/,
    );
  });

  it("has a reason for every refusal of a call without arguments, on both architectures", () => {
    for (const arch of ["x86-64", "arm64"] as const) {
      const program = decodeProgram(defaultSeccomp(arch).program);
      const data = (name: string): SeccompData => ({
        nr: syscallNumber(arch, name) ?? -1,
        arch: AUDIT_ARCH[arch],
        args: [],
      });
      const refused = syscallNames(arch).filter((name) => runProgram(program, data(name)) !== RET.ALLOW);
      assert.ok(refused.length > 60, `only ${refused.length}`);
      for (const name of refused) {
        const { call: what, reason } = explainRefusal(arch, data(name));
        assert.ok(what.startsWith(name), what);
        assert.ok(reason.length > 10 && !reason.includes("does not name"), `${name}: ${reason}`);
      }
    }
  });

  it("says so of a number it does not know", () => {
    const { call: what, reason } = explainRefusal("x86-64", { nr: 4000, arch: AUDIT_ARCH["x86-64"] });
    assert.equal(what, "syscall 4000");
    assert.match(reason, /knows no such call/);
  });
});

describe("the tally", () => {
  it("counts, and tells what a program fails by before what libraries fall back from", () => {
    const tally = new SyscallTally("x86-64");
    tally.add(call("clone3"), os.errno.ENOSYS);
    for (let i = 0; i < 3; i++) tally.add(call("unshare"), os.errno.EPERM);
    assert.deepEqual(
      tally.denials(0).map(({ kind, what, why }) => [kind, what, why.split(":")[0]]),
      [
        ["syscall", "unshare", "EPERM, 3 times"],
        ["syscall", "clone3", "ENOSYS, once"],
      ],
    );
  });

  it("is bounded, and says how many more there were", () => {
    const tally = new SyscallTally("x86-64");
    for (let domain = 20; domain < 20 + DENIALS_MAX + 7; domain++)
      tally.add(call("socket", domain + 100), os.errno.EAFNOSUPPORT);
    tally.add(call("socket", 120), os.errno.EAFNOSUPPORT);
    const denials = tally.denials(0);
    assert.equal(denials.length, DENIALS_MAX + 1);
    assert.match(denials[0]?.why ?? "", /^EAFNOSUPPORT, twice|2 times/);
    assert.equal(denials.at(-1)?.why, "7 more calls were refused");
  });

  it("tells of a program that SIGSYS killed", () => {
    const tally = new SyscallTally("x86-64");
    assert.deepEqual(tally.denials(1), []);
    assert.match(tally.denials(128 + os.signals.SIGSYS)[0]?.why ?? "", /another|foreign ABI/);
  });
});
