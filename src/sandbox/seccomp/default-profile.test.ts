import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { CANARY_PID, withCanary } from "./canary.ts";
import { AUDIT_ARCH, compileProfile } from "./compile.ts";
import { defaultSeccomp, seccompArch } from "./default.ts";
import { DEFAULT_PROFILE, except } from "./default-profile.ts";
import { renderDefaultProgram } from "./generate.ts";
import { decodeProgram, runProgram } from "./interpret.ts";
import { parseSeccompProfile, type SeccompArch } from "./profile.ts";
import { holds } from "./reference.fixture.ts";
import { RET, resolveProfile, syscallNames, syscallNumber } from "./resolve.ts";

const ARCHES = ["x86-64", "arm64"] as const;
const OK = RET.ALLOW;
const EPERM = RET.ERRNO + 1;
const ENOSYS = RET.ERRNO + 38;
const EAFNOSUPPORT = RET.ERRNO + 97;
const S32 = 1n << 32n;
/** What a caller can leave in the upper half of a register, which the kernel drops for an int. */
const GARBAGE = [0n, 1n, 0x8000_0000n, 0xffff_ffffn].map((upper) => upper * S32);

const programs = {
  "x86-64": decodeProgram(defaultSeccomp("x86-64").program),
  arm64: decodeProgram(defaultSeccomp("arm64").program),
};

function verdict(arch: SeccompArch, name: string, ...args: readonly bigint[]): number {
  const nr = syscallNumber(arch, name);
  assert.notEqual(nr, undefined, `${name} is not a syscall of ${arch}`);
  return runProgram(programs[arch], { nr: nr ?? -1, arch: AUDIT_ARCH[arch], args });
}

/** Checks on each architecture that has the call, under every garbage in the arguments named. */
function expectVerdict(
  expected: number,
  name: string,
  args: readonly number[],
  ints: readonly number[] = [],
): void {
  for (const arch of ARCHES.filter((each) => syscallNumber(each, name) !== undefined)) {
    for (const garbage of GARBAGE) {
      const dirty = args.map((arg, index) => BigInt(arg) + (ints.includes(index) ? garbage : 0n));
      assert.equal(
        verdict(arch, name, ...dirty).toString(16),
        expected.toString(16),
        `${arch} ${name}(${dirty.map((arg) => `0x${arg.toString(16)}`).join(", ")})`,
      );
    }
  }
}

describe("the default profile as data", () => {
  it("has an entry for every syscall of both architectures, so that none is refused by oversight", () => {
    const named = new Set(DEFAULT_PROFILE.syscalls.flatMap((entry) => entry.names));
    for (const arch of ARCHES)
      assert.deepEqual(
        syscallNames(arch).filter((name) => !named.has(name)),
        [],
      );
  });

  it("names only syscalls some architecture has", () => {
    const unknown = ARCHES.map((arch) => new Set(resolveProfile(DEFAULT_PROFILE, arch).unknown));
    assert.deepEqual(
      [...(unknown[0] ?? [])].filter((name) => unknown[1]?.has(name)),
      [],
    );
    assert.deepEqual([...(unknown[0] ?? [])], [], "x86-64 has them all");
  });

  it("decides each syscall in one place", () => {
    const plain = DEFAULT_PROFILE.syscalls
      .filter((entry) => entry.args === undefined)
      .flatMap(({ names }) => names);
    assert.equal(new Set(plain).size, plain.length);
    const conditional = new Set(
      DEFAULT_PROFILE.syscalls.filter(({ args }) => args !== undefined).flatMap(({ names }) => names),
    );
    assert.deepEqual(
      plain.filter((name) => conditional.has(name)),
      [],
    );
    for (const arch of ARCHES) assert.deepEqual(resolveProfile(DEFAULT_PROFILE, arch).shadowed, []);
  });

  it("compares through masks alone: libseccomp, which OCI runtimes use, errs on several comparisons of order", () => {
    const ops = DEFAULT_PROFILE.syscalls.flatMap(({ args = [] }) => args.map(({ op }) => op));
    assert.deepEqual([...new Set(ops)], ["SCMP_CMP_MASKED_EQ"]);
  });

  it("gives a reason for every group", () => {
    const reasons = new Map<string, boolean>();
    for (const { names, comment } of DEFAULT_PROFILE.syscalls) {
      for (const name of names) reasons.set(name, (reasons.get(name) ?? false) || comment !== undefined);
    }
    assert.deepEqual(
      [...reasons].filter(([, given]) => !given),
      [],
    );
  });
});

describe("except", () => {
  it("holds for every 32-bit value but those named, whatever the upper half", () => {
    for (const values of [
      [0],
      [1],
      [1, 2, 10],
      [0x5412, 0x541c],
      [0x7fff_fffe],
      [0xffff_ffff],
      [0x8000_0001, 0],
    ]) {
      const entries = except(values, 0, (test) => ({
        names: ["read"],
        action: "SCMP_ACT_ALLOW",
        args: [test],
      }));
      const matches = (value: bigint): boolean =>
        entries.some(({ args = [] }) => args.every((test) => holds(test, { nr: 0, arch: 0, args: [value] })));
      const near = values.flatMap((value) =>
        [value, value ^ 1, value ^ 2, value ^ 8, value ^ 0x8000_0000].map((bits) => bits >>> 0),
      );
      for (const low of [...near, ...Array.from({ length: 64 }, (_, small) => small)]) {
        for (const garbage of GARBAGE)
          assert.equal(matches(BigInt(low) + garbage), !values.includes(low), `${low}`);
      }
    }
  });
});

describe("the default program", () => {
  it("kills other ABIs, and answers x32 and later syscalls as a kernel without them", () => {
    for (const arch of ARCHES) {
      const run = (nr: number, audit: number): number => runProgram(programs[arch], { nr, arch: audit });
      for (const audit of [0x4000_0003, 0x4000_0028]) assert.equal(run(1, audit), RET.KILL_PROCESS);
      for (const nr of [470, 1000, 0x4000_0000, 0x4000_0001, 0xffff_ffff])
        assert.equal(run(nr, AUDIT_ARCH[arch]), ENOSYS);
    }
  });

  it("refuses what reaches past the sandbox with EPERM", () => {
    const refused = `unshare setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree
      open_tree_attr mount_setattr io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key
      request_key bpf perf_event_open ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
      open_by_handle_at name_to_handle_at fanotify_init fanotify_mark settimeofday clock_settime adjtimex clock_adjtime
      reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff quotactl quotactl_fd acct
      sethostname setdomainname iopl ioperm vhangup syslog mbind set_mempolicy set_mempolicy_home_node migrate_pages
      move_pages`;
    for (const name of refused.split(/\s+/)) expectVerdict(EPERM, name, [0, 0, 0, 0, 0, 0]);
  });

  it("answers ENOSYS where libraries then fall back to what can be filtered", () => {
    for (const name of ["clone3", "openat2", "memfd_secret", "modify_ldt", "lookup_dcookie", "nfsservctl"]) {
      expectVerdict(ENOSYS, name, [0, 0, 0]);
    }
  });

  it("clones threads and children but no namespaces", () => {
    const thread = 0x003d_0f00;
    const sigchld = 17;
    const vfork = 0x4111;
    for (const flags of [thread, sigchld, vfork, 0]) expectVerdict(OK, "clone", [flags], [0]);
    for (const flag of [
      0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
    ]) {
      for (const flags of [thread, sigchld, 0]) expectVerdict(EPERM, "clone", [flags + flag], [0]);
    }
  });

  it("opens Unix, TCP and UDP sockets and no others", () => {
    const [unix, inet, inet6, cloexec] = [1, 2, 10, 0o2004000];
    const ints = [0, 1, 2];
    const allowed = [unix, inet, inet6].flatMap((family) => [
      [family, 1, 0],
      [family, 2 + cloexec, 0],
    ]);
    for (const args of [...allowed, [unix, 5, 0], [inet, 1, 6], [inet6, 2, 17]])
      expectVerdict(OK, "socket", args, ints);
    // Raw, DCCP, SOCK_PACKET, SEQPACKET (SCTP), then protocols: ICMP, SCTP, MPTCP.
    const kinds = [
      [inet, 3, 0],
      [inet, 3 + cloexec, 255],
      [inet6, 3, 58],
      [inet, 6, 33],
      [inet, 10, 768],
      [inet, 5, 132],
      [unix, 3, 0],
    ];
    const protocols = [
      [inet, 2, 1],
      [inet6, 1, 132],
      [inet, 1, 262],
    ];
    for (const args of [...kinds, ...protocols]) expectVerdict(EPERM, "socket", args, ints);
    for (let family = 0; family < 64; family++) {
      if ([unix, inet, inet6].includes(family)) continue;
      expectVerdict(EAFNOSUPPORT, "socket", [family, 1, 0], ints);
      expectVerdict(EAFNOSUPPORT, "socketpair", [family, 1, 0], ints);
    }
    expectVerdict(OK, "socketpair", [unix, 1 + cloexec, 0], ints);
    expectVerdict(EAFNOSUPPORT, "socketpair", [inet, 1, 0], ints);
  });

  it("types into no terminal", () => {
    for (const command of [0x5412, 0x541c]) expectVerdict(EPERM, "ioctl", [0, command, 0], [0, 1]);
    for (const command of [0x5401, 0x5413, 0x541b, 0x5411, 0x541d, 0x8000_5412, 0xffff_ffff, 0])
      expectVerdict(OK, "ioctl", [0, command, 0], [0, 1]);
  });

  it("creates nothing with set-user-ID or set-group-ID bits", () => {
    const [creat, tmpfile, directory] = [0o100, 0o20000000, 0o200000];
    for (const [name, index] of [
      ["chmod", 1],
      ["fchmod", 1],
      ["creat", 1],
      ["fchmodat", 2],
      ["fchmodat2", 2],
    ] as const) {
      const args = (mode: number): number[] => [0, 0, 0, 0].with(index, mode);
      for (const mode of [0, 0o644, 0o1777, 0o100755]) expectVerdict(OK, name, args(mode), [index]);
      for (const mode of [0o4755, 0o2755, 0o6000, 0o7777]) expectVerdict(EPERM, name, args(mode), [index]);
    }
    for (const [name, first] of [
      ["open", 1],
      ["openat", 2],
    ] as const) {
      const args = (flags: number, mode: number): number[] =>
        [0, 0, 0, 0].with(first, flags).with(first + 1, mode);
      const ints = [first, first + 1];
      expectVerdict(OK, name, args(creat | 1, 0o644), ints);
      expectVerdict(OK, name, args(0o2, 0o7777), ints);
      for (const flags of [creat, tmpfile | directory, tmpfile, creat | tmpfile]) {
        for (const mode of [0o4755, 0o2000]) expectVerdict(EPERM, name, args(flags, mode), ints);
      }
    }
  });

  it("makes FIFOs and files but no devices", () => {
    for (const [name, index] of [
      ["mknod", 1],
      ["mknodat", 2],
    ] as const) {
      const args = (mode: number): number[] => [0, 0, 0, 0].with(index, mode);
      for (const type of [0, 0o100000, 0o010000, 0o140000]) {
        expectVerdict(OK, name, args(type | 0o666), [index]);
        expectVerdict(EPERM, name, args(type | 0o4755), [index]);
      }
      for (const type of [0o020000, 0o060000]) expectVerdict(EPERM, name, args(type | 0o666), [index]);
    }
  });

  it("takes only personalities that loosen nothing", () => {
    for (const persona of [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff])
      expectVerdict(OK, "personality", [persona], [0]);
    for (const persona of [0x40_0000, 0x4_0000, 0x10_0000, 3])
      expectVerdict(EPERM, "personality", [persona], [0]);
  });

  it("lets ordinary programs have what they use", () => {
    const used = `read write openat mmap execve fork vfork wait4 futex epoll_wait pidfd_open rseq membarrier getrandom
      statx faccessat2 close_range inotify_init1 sched_setaffinity prctl seccomp landlock_create_ruleset shmget
      io_setup memfd_create copy_file_range setsockopt connect sendmsg timer_create get_mempolicy`;
    for (const name of used.split(/\s+/)) expectVerdict(OK, name, [0, 0, 0, 0, 0, 0]);
  });
});

describe("the canary", () => {
  const { profile, errno } = withCanary(DEFAULT_PROFILE);

  it("answers its errno for one process id and lets every other be signalled", () => {
    expectVerdict(RET.ERRNO + errno, "kill", [CANARY_PID, 0], [0]);
    expectVerdict(RET.ERRNO + errno, "kill", [CANARY_PID, 9], [0]);
    for (const pid of [0, 1, CANARY_PID - 1, CANARY_PID + 1, 0xffff_ffff, 0x8000_0000 + CANARY_PID])
      expectVerdict(OK, "kill", [pid, 9], [0]);
    assert.equal(CANARY_PID | 0, CANARY_PID, "a pid is a positive int");
  });

  it("changes nothing else", () => {
    for (const arch of ARCHES) {
      const [plain, canaried] = [DEFAULT_PROFILE, profile].map((each) => resolveProfile(each, arch));
      const kill = syscallNumber(arch, "kill");
      const rest = (from: typeof plain) =>
        [...(from?.verdicts ?? [])].filter(([number]) => number !== kill).sort(([a], [b]) => a - b);
      assert.deepEqual(rest(canaried), rest(plain));
    }
  });

  it("derives the errno from the profile, between 1000 and 3999", () => {
    const errnos = Array.from(
      { length: 200 },
      (_, defaultErrnoRet) => withCanary({ ...DEFAULT_PROFILE, defaultErrnoRet }).errno,
    );
    assert.ok(errnos.every((each) => Number.isInteger(each) && each >= 1000 && each <= 3999));
    assert.ok(new Set(errnos).size > 150, "errnos repeat too often");
    assert.equal(withCanary(DEFAULT_PROFILE).errno, errno);
  });
});

describe("defaultSeccomp", () => {
  it("holds what the profile compiles to now (else run `node src/sandbox/seccomp/generate.ts`)", () => {
    assert.equal(
      readFileSync(new URL("default-program.ts", import.meta.url), "utf8"),
      renderDefaultProgram(),
    );
  });

  for (const arch of ARCHES) {
    it(`gives ${arch} a program, its digest, its canary and the same as OCI JSON`, () => {
      const { program, digest, canaryErrno, profile } = defaultSeccomp(arch);
      const { architectures, ...parsed } = parseSeccompProfile(JSON.parse(JSON.stringify(profile)));
      const { profile: canaried, errno } = withCanary(DEFAULT_PROFILE);
      assert.deepEqual(parsed, canaried);
      assert.deepEqual(architectures, [arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"]);
      assert.equal(canaryErrno, errno);
      const compiled = compileProfile(parsed, arch, { newer: "absent" });
      assert.deepEqual(program, compiled.program);
      assert.equal(digest, compiled.digest);
    });
  }

  it("is no longer than it was: 290 instructions on x86-64, 253 on arm64", () => {
    assert.deepEqual(
      ARCHES.map((arch) => defaultSeccomp(arch).program.length / 8),
      [290, 253],
    );
  });

  it("knows the architectures by Node's names", () => {
    assert.deepEqual(["x64", "arm64", "riscv64"].map(seccompArch), ["x86-64", "arm64", undefined]);
  });
});
