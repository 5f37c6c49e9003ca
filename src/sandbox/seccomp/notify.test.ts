/** Explaining runs in the real kernel: what is told, and that no more is let through than in any other run. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Denial } from "../../contract/execution.ts";
import type { Profile } from "../../contract/profile.ts";
import type { Driver } from "../driver.ts";
import { selectDriver } from "../drivers/registry.ts";
import type { ProfileRequest } from "../grants.ts";
import { openBench, type Ran, UNCHECKED } from "../sandbox.fixture.ts";
import { seccompArch } from "./default.ts";
import { syscallNumber } from "./resolve.ts";

const arch = seccompArch(process.arch) ?? "x86-64";
/** How long the kernel may take to end what a killed gateway leaves. */
const GONE_MS_MAX = 5_000;

function number(name: string): number {
  return syscallNumber(arch, name) ?? -1;
}

async function run(
  argv: readonly string[],
  explain: boolean,
  request: Partial<ProfileRequest> = {},
): Promise<Ran> {
  await using bench = openBench();
  const profile: Profile = bench.profile(request);
  return await bench.run(argv, { profile: explain ? { ...profile, explainSyscalls: true } : profile });
}

function denialsOf({ execution }: Ran): readonly Denial[] {
  return execution.outcome === "unstarted" ? [] : execution.denials;
}

/** A perl program that makes these calls and prints their errnos. */
function errnosOf(calls: readonly (readonly [name: string, ...args: number[]])[]): readonly string[] {
  const script = calls.map(
    ([name, ...args]) => `push @e, syscall(${[number(name), ...args].join(",")}) == -1 ? $! + 0 : 0;`,
  );
  return ["perl", "-e", `my @e; ${script.join(" ")} print "@e";`];
}

const REFUSED = errnosOf([
  ["unshare", 0],
  ["unshare", 0x1000_0000],
  ["setns", 0, 0],
  ["socket", 16, 3, 0],
  ["socket", 2, 3, 1],
  ["clone3", 0, 0],
  ["keyctl", 0, 0, 0],
  ["ptrace", 16, 1, 0, 0],
  ["ioctl", 0, 0x5412, 0],
  ["personality", 0x40000],
]);

describe("a run that explains its refused system calls", () => {
  it("gives the program the errnos of any other run, and tells what was refused and why", async () => {
    const [usual, explained] = [await run(REFUSED, false), await run(REFUSED, true)];
    assert.equal(usual.stdout, "1 1 1 97 1 38 1 1 1 1");
    assert.equal(explained.stdout, usual.stdout);
    assert.deepEqual(denialsOf(usual), []);
    const told = denialsOf(explained);
    assert.deepEqual(
      told.map(({ kind, what }) => `${kind} ${what}`),
      [
        ...["unshare", "setns", "socket(domain=AF_NETLINK)", "socket(type=SOCK_RAW, protocol=1)", "keyctl"],
        ...["ptrace", "ioctl(request=TIOCSTI)", "personality(persona=0x40000)", "clone3"],
      ].map((what) => `syscall ${what}`),
    );
    assert.equal(
      told[0]?.why,
      "EPERM, 2 times: new namespaces reopen the kernel's surface to root of their own",
    );
    assert.match(explained.controls.seccomp.evidence, /filters 1, canary (\d+) of \1/);
    assert.equal(explained.controls.seccomp.state, "enforced");
  });

  it("changes nothing for a program that is refused nothing: output, exit code, variables, folder", async () => {
    const environment = { GREETING: "a=b  c", EMPTY: "" };
    const script =
      'printf "%s|%s|%s|%s" "$GREETING" "$EMPTY" "$HOME" "$PWD"; env | sort | cut -d= -f1 | tr "\\n" " "; exit 7';
    const [usual, explained] = [
      await run(["sh", "-c", script], false, { environment }),
      await run(["sh", "-c", script], true, { environment }),
    ];
    assert.equal(
      explained.stdout.replace(/callgate-bench-\w+/, ""),
      usual.stdout.replace(/callgate-bench-\w+/, ""),
    );
    assert.equal(explained.execution.outcome === "exited" && explained.execution.exitCode, 7);
    assert.deepEqual(denialsOf(explained), []);
  });

  it("tells a program that is not there from one that exits as if, and says that nothing ran", async () => {
    const message = async (argv: readonly string[]): Promise<string> => {
      const { execution } = await run(argv, true);
      return execution.outcome === "unstarted" ? execution.message : `${execution.outcome}`;
    };
    assert.match(await message(["no-such-program"]), /`no-such-program` was not found .*ENOENT/);
    assert.match(await message(["/usr/bin"]), /`\/usr\/bin` may not be executed .*EACCES/);
    assert.equal(await message(["sh", "-c", "exit 127"]), "exited");
  });

  it("tells of threads and of children that outlive their parent, each call once", async () => {
    const calls = `syscall(${number("unshare")}, 0)`;
    const script = `for (1..8) { if (!fork) { ${calls} for 1..25; exit } } wait for 1..8; ${calls}`;
    const denials = denialsOf(await run(["perl", "-e", script], true));
    assert.match(denials.find(({ what }) => what === "unshare")?.why ?? "", /^EPERM, 201 times/);
  });

  it("lets no variable of the tool run code before the filter is loaded", async () => {
    // perl reads the one, the dynamic linker the other: the stage would die of the first.
    const environment = { PERL5OPT: "-Mno::such::module", LD_PRELOAD: "/no/such/library.so" };
    const { execution, stderr, stdout } = await run(["sh", "-c", 'echo "$PERL5OPT"'], true, { environment });
    assert.equal(execution.outcome === "exited" && execution.exitCode, 0, stderr);
    assert.equal(stdout, "-Mno::such::module\n");
  });

  it("hands the tool neither the listener nor a way to a further one", async () => {
    const listener = `ls -l /proc/self/fd | grep -c seccomp; perl -e 'my $f = pack "S x6 P", 1, pack("S C C L", 6, 0, 0, 0x7fc00000); print syscall(${number("seccomp")}, 1, 8, $f) < 0 ? $! + 0 : "taken"'`;
    const { stdout } = await run(["sh", "-c", listener], true);
    assert.equal(stdout, "0\n16");
  });

  it("keeps every refused call refused when its supervisor is gone", async () => {
    await using bench = openBench();
    const profile: Profile = { ...bench.profile(), explainSyscalls: true };
    const calls = `sub try { syscall(${number("unshare")}, $_[0]) == -1 ? $! + 0 : 0 }`;
    const script = `$| = 1; ${calls} print try(0), " "; <STDIN>; print join " ", try(0), try(0x10000000);
      my $f = pack "S x6 P", 1, pack("S C C L", 6, 0, 0, 0x7fc00000); print " ", syscall(${number("seccomp")}, 1, 8, $f) < 0 ? $! + 0 : "taken"`;
    const before = new Set(childrenOf(process.pid));
    await using sandbox = await bench.driver.open(profile);
    const [supervisor] = childrenOf(process.pid).filter(
      (pid) => !before.has(pid) && /pidfd_getfd/.test(commandOf(pid)),
    );
    assert.ok(supervisor !== undefined, "a supervisor is there");
    const stdin = new PassThrough();
    let out = "";
    await sandbox.release(
      UNCHECKED,
      { argv: ["perl", "-e", script], stdin },
      {
        onOutput: (_, chunk) => {
          out += Buffer.from(chunk).toString("utf8");
          if (out !== "1 ") return;
          process.kill(supervisor, "SIGKILL");
          stdin.end("\n");
        },
      },
    );
    assert.equal(out, "1 38 38 16", "ENOSYS from the kernel, and no listener of its own");
  });

  it("tells of a program that a 32-bit call killed", {
    skip: arch === "x86-64" && spawnSync("cc", ["--version"]).status === 0 ? false : "needs cc on x86-64",
  }, async () => {
    const source = 'int main(){int r;__asm__ volatile("int $0x80":"=a"(r):"a"(20):"memory");return 0;}';
    const script = 'cd /tmp; printf "%s" "$0" > a.c && cc a.c -o a && exec ./a';
    const ran = await run(["bash", "-c", script, source], true);
    assert.equal(denialsOf(ran)[0]?.what, "another ABI");
  });

  it("leaves no supervisor when the gateway is killed", async () => {
    const fixture = new URL("../sandbox.fixture.ts", import.meta.url).href;
    const script = `const { openBench, UNCHECKED } = await import(${JSON.stringify(fixture)});
      const bench = openBench();
      const sandbox = await bench.driver.open({ ...bench.profile(), explainSyscalls: true });
      const onOutput = () => console.log(bench.workspace);
      await sandbox.release(UNCHECKED, { argv: ["sh", "-c", "echo up; exec sleep 60"] }, { onOutput });`;
    const gateway = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = once(gateway, "exit");
    const [workspace] = (await once(gateway.stdout, "data")) as [Buffer];
    const supervisor = childrenOf(gateway.pid ?? 0).find((pid) => /pidfd_getfd/.test(commandOf(pid)));
    assert.ok(supervisor !== undefined, "a supervisor is there");
    gateway.kill("SIGKILL");
    await ended;
    rmSync(dirname(workspace.toString().trim()), { recursive: true });
    const deadline = performance.now() + GONE_MS_MAX;
    while (existsSync(`/proc/${supervisor}`) && performance.now() < deadline) await sleep(10);
    assert.ok(!existsSync(`/proc/${supervisor}`), "it ended too");
  });

  it("is refused by name where a driver cannot", async () => {
    await using bench = openBench();
    const { name, supports } = bench.driver;
    const other: Driver = {
      name: "other",
      supports: { ...supports, explainsSyscalls: false },
      probe: () => bench.driver.probe(),
      open: (profile) => bench.driver.open(profile),
      [Symbol.asyncDispose]: async () => {},
    };
    const asked: Profile = { ...bench.profile(), explainSyscalls: true };
    assert.throws(() => selectDriver(asked, [other]), /other cannot explain refused system calls/);
    assert.equal(selectDriver(asked, [other, bench.driver]).name, name);
  });
});

function childrenOf(parent: number): number[] {
  const text = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8");
  return text.trim().split(/\s+/).filter(Boolean).map(Number);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8");
}
