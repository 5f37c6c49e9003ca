/** Observing runs in the real kernel: what is noted, within which bounds, and that nothing more is let through. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { FileAccess, ObservedFiles } from "../../contract/execution.ts";
import type { Profile } from "../../contract/profile.ts";
import type { Driver } from "../driver.ts";
import { selectDriver } from "../drivers/registry.ts";
import type { ProfileRequest } from "../grants.ts";
import { type Bench, openBench, type Ran, UNCHECKED } from "../sandbox.fixture.ts";
import { seccompArch } from "./default.ts";
import { Collected, requireObservable } from "./observe.ts";
import { PATHS_BYTES_MAX, PATHS_MAX } from "./observe-supervisor.ts";
import { syscallNumber } from "./resolve.ts";

const arch = seccompArch(process.arch) ?? "x86-64";
const AT_FDCWD = -100;
/** How long the kernel may take to end what a killed gateway leaves. */
const GONE_MS_MAX = 5_000;

function number(name: string): number {
  return syscallNumber(arch, name) ?? -1;
}

async function run(
  bench: Bench,
  argv: readonly string[],
  request: Partial<ProfileRequest> = {},
): Promise<Ran & { readonly observed: ObservedFiles }> {
  const ran = await bench.run(argv, { profile: { ...bench.profile(request), observeFiles: true } });
  assert.ok(ran.execution.outcome === "exited", JSON.stringify(ran.execution));
  const { observed } = ran.execution;
  assert.ok(observed !== undefined);
  assert.ok(observed.complete);
  return { ...ran, observed };
}

function timesOf({ files }: ObservedFiles, path: string, access: FileAccess): number {
  return files.find((file) => file.path === path && file.access === access)?.times ?? 0;
}

describe("a run that observes its files", () => {
  it("notes what was opened, looked for, run and changed, there or not, granted or not", async () => {
    await using bench = openBench();
    const script = `cat a.txt /opt/no-such/file; ./b.sh; no-such-program; [ -e /etc/shadow ]
      echo x > c.txt; mkdir d; rm a.txt; ln -s /elsewhere e; mv a.txt f.txt; cd /usr; cat lib/../lib/os-release; exit 3`;
    const { observed, execution } = await run(bench, ["bash", "-c", script]);
    assert.equal(execution.outcome === "exited" && execution.exitCode, 3);
    const inside = (name: string): string => join(bench.workspace, name);
    const expected: readonly (readonly [string, FileAccess])[] = [
      [inside("a.txt"), "read"],
      [inside("a.txt"), "write"],
      ["/opt/no-such/file", "read"],
      [inside("b.sh"), "execute"],
      ["/usr/bin/no-such-program", "look"],
      ["/etc/shadow", "look"],
      [inside("c.txt"), "write"],
      [inside("d"), "write"],
      [inside("e"), "write"],
      [inside("f.txt"), "write"],
      ["/usr/lib/os-release", "read"],
    ];
    const text = JSON.stringify(observed.files);
    for (const [path, access] of expected)
      assert.ok(timesOf(observed, path, access) > 0, `${access} ${path} ${text}`);
    assert.equal(timesOf(observed, "/elsewhere", "write"), 0, "what a link says is no path yet");
    assert.deepEqual([observed.further, observed.unread], [0, 0]);
  });

  it("counts, and works paths out from a folder's descriptor", async () => {
    await using bench = openBench();
    mkdirSync(join(bench.workspace, "folder"));
    writeFileSync(join(bench.workspace, "folder", "x"), "");
    const script = `opendir my $d, 'folder'; my $n = "x\\0"; syscall(${number("openat")}, fileno($d) , $n, 0) for 1..7;
      my $m = "nothing/../y\\0"; syscall(${number("openat")}, ${AT_FDCWD}, $m, 0, 0) for 1..3;
      my $e = "\\0"; syscall(${number("openat")}, ${AT_FDCWD}, $e, 0, 0); syscall(${number("utimensat")}, 0, 0, 0, 0);
      syscall(${number("openat")}, 77, $n, 0, 0); syscall(${number("openat")}, ${AT_FDCWD}, 4096, 0, 0)`;
    const { observed } = await run(bench, ["perl", "-e", script]);
    assert.equal(timesOf(observed, join(bench.workspace, "folder", "x"), "read"), 7);
    assert.equal(timesOf(observed, join(bench.workspace, "y"), "read"), 3);
    assert.ok(
      observed.files.every(({ path }) => path.startsWith("/")),
      "an empty path and none at all name nothing",
    );
    assert.equal(observed.unread, 2, "a descriptor and an address that are not there");
  });

  it("refuses what any other run refuses, with the same errnos, and has the same filter", async () => {
    const calls: readonly (readonly [string, ...(number | string)[]])[] = [
      ["unshare", 0],
      ["setns", 0, 0],
      ["socket", 16, 3, 0],
      ["clone3", 0, 0],
      ["ptrace", 16, 1, 0, 0],
      ["openat2", AT_FDCWD, "$p", 0, 0],
      ["openat", AT_FDCWD, "$p", 0o101, 0o4755],
      ["fchmodat", AT_FDCWD, "$p", 0o4755],
      ["mknodat", AT_FDCWD, "$p", 0o20666, 0],
      ["open_by_handle_at", AT_FDCWD, "$p", 0],
    ];
    const script = `my $p = "/tmp/x\\0"; my @e; ${calls
      .map(([name, ...args]) => `push @e, syscall(${[number(name), ...args].join(",")}) == -1 ? $! + 0 : 0;`)
      .join(" ")} print "@e";`;
    await using bench = openBench();
    const usual = await bench.run(["perl", "-e", script]);
    const observed = await run(bench, ["perl", "-e", script]);
    assert.equal(observed.stdout, usual.stdout);
    assert.match(usual.stdout, /^1 1 97 38 1 38 1 1 1 1$/);
    assert.match(observed.controls.seccomp.evidence, /filters 1, canary (\d+) of \1/);
    assert.equal(observed.controls.seccomp.evidence, usual.controls.seccomp.evidence);
  });

  it("changes nothing else: output, exit code, variables", async () => {
    const environment = { GREETING: "a=b  c", PERL5OPT: "-Mno::such::module", LD_PRELOAD: "" };
    await using bench = openBench();
    const argv = [
      "sh",
      "-c",
      'printf "%s|%s|%s" "$GREETING" "$PERL5OPT" "$PWD"; env | sort | cut -d= -f1; exit 7',
    ];
    const usual = await bench.run(argv, { profile: bench.profile({ environment }) });
    const { stdout, execution } = await run(bench, argv, { environment });
    assert.equal(stdout, usual.stdout);
    assert.equal(execution.outcome === "exited" && execution.exitCode, 7);
  });

  it("says that nothing ran where there is no such program", async () => {
    await using bench = openBench();
    const profile: Profile = { ...bench.profile(), observeFiles: true };
    const { execution } = await bench.run(["no-such-program"], { profile });
    assert.match(execution.outcome === "unstarted" ? execution.message : "", /was not found .*ENOENT/);
    const ended = await bench.run(["sh", "-c", "exit 127"], { profile });
    assert.equal(ended.execution.outcome, "exited");
  });

  it("keeps bytes that are no text, a newline and a NUL's absence apart", async () => {
    await using bench = openBench();
    const script = `open F, '<', "/opt/a\\nend 9 9"; open F, '<', "/opt/\\xff\\x80b"; open F, '<', "/opt/\\xc3\\xa9";
      my $long = 'x' x 5000; open F, '<', $long;`;
    const { observed } = await run(bench, ["perl", "-e", script]);
    assert.equal(timesOf(observed, "/opt/a\nend 9 9", "read"), 1);
    assert.equal(timesOf(observed, "/opt/é", "read"), 1);
    assert.equal(observed.files.find(({ malformed }) => malformed === true)?.path, "/opt/\\xff\\x80b");
    assert.equal(observed.unread, 1, "longer than a path may be");
    assert.equal(observed.further, 0);
  });

  it("keeps nothing of a path that runs into memory which is not there", async () => {
    await using bench = openBench();
    const script = `
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
area = mmap.mmap(-1, 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc.mprotect(ctypes.c_void_p(start + page), page, 0)
area[page - 16:page] = b"/opt/cut-short/x"
# What was read before lies behind it in the observer's buffer.
libc.open(b"/opt/" + b"y" * 30, 0)
libc.open(ctypes.c_void_p(start + page - 16), 0)
print(ctypes.get_errno())
area[page - 9:page] = b"/opt/end\\0"
libc.open(ctypes.c_void_p(start + page - 9), 0)`;
    const { stdout, observed } = await run(bench, ["python3", "-c", script]);
    assert.equal(stdout, "14\n");
    assert.deepEqual(
      observed.files.filter(({ path }) => path.startsWith("/opt/")).map(({ path }) => path),
      ["/opt/end", `/opt/${"y".repeat(30)}`],
    );
    assert.equal(observed.unread, 1);
  });

  it("is bounded in paths, and counts what comes after", async () => {
    await using bench = openBench();
    const more = 500;
    const script = `for my $i (1..${PATHS_MAX + more}) { open F, '<', "/opt/n/$i" }`;
    const { observed } = await run(bench, ["perl", "-e", script]);
    assert.equal(observed.files.length, PATHS_MAX);
    assert.ok(observed.further >= more && observed.further < more + 200, `${observed.further}`);
  });

  it("is bounded in bytes", async () => {
    await using bench = openBench();
    const script = `my $long = '/opt' . '/y' x 2000; for my $i (1..1500) { open F, '<', "$long$i" }`;
    const { observed } = await run(bench, ["perl", "-e", script]);
    const bytes = observed.files.reduce((sum, { path }) => sum + path.length + 1, 0);
    assert.ok(bytes <= PATHS_BYTES_MAX && bytes > PATHS_BYTES_MAX - 8192, `${bytes}`);
    assert.ok(observed.further > 400, `${observed.further}`);
  });

  it("is not disturbed by threads that change a path while it is read, nor by signals and deaths in between", async () => {
    await using bench = openBench();
    const script = `
import os, sys, threading, ctypes, signal
sys.setswitchinterval(0.0001)
libc = ctypes.CDLL(None, use_errno=True)
path = ctypes.create_string_buffer(b"/opt/aaaa/secret", 64)
stop = False
def change():
    while not stop:
        path.value = b"/opt/bbbb/other-and-longer"
        path.value = b"/opt/aaaa/secret"
threading.Thread(target=change).start()
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
absent = 0
while absent < 1000:
    # A signal before the observer has taken the call ends it (EINTR), and nothing is noted.
    if libc.open(path, 0) < 0 and ctypes.get_errno() == 2: absent += 1
stop = True
for _ in range(20):
    child = os.fork()
    if child == 0:
        while True: libc.open(path, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("done")`;
    const { stdout, observed } = await run(bench, ["python3", "-c", script]);
    assert.equal(stdout, "done\n");
    const raced = observed.files.filter(({ path }) => path.startsWith("/opt/"));
    assert.ok(raced.reduce((sum, { times }) => sum + times, 0) >= 1000, JSON.stringify(raced));
    assert.equal(observed.unread, 0);
  });

  it("fails closed: with its observer gone nothing is opened, and what was refused stays refused", async () => {
    await using bench = openBench();
    const before = new Set(observersOf(process.pid));
    await using sandbox = await bench.driver.open({ ...bench.profile(), observeFiles: true });
    const [observer] = observersOf(process.pid).filter((pid) => !before.has(pid));
    assert.ok(observer !== undefined, "an observer is there");
    const script = `$| = 1; print "up "; <STDIN>; print open(F, '<', 'a.txt') ? 'opened' : $! + 0, ' ';
      print syscall(${number("unshare")}, 0) == -1 ? $! + 0 : 0`;
    const stdin = new PassThrough();
    let out = "";
    const execution = await sandbox.release(
      UNCHECKED,
      { argv: ["perl", "-e", script], stdin },
      {
        onOutput: (_, chunk) => {
          out += Buffer.from(chunk).toString("utf8");
          if (out !== "up ") return;
          process.kill(observer, "SIGKILL");
          stdin.end("\n");
        },
      },
    );
    assert.equal(out, "up 38 1", "ENOSYS from the kernel");
    assert.equal(execution.outcome === "exited" && execution.observed?.complete, false);
  });

  it("leaves no observer when the gateway is killed", async () => {
    const fixture = new URL("../sandbox.fixture.ts", import.meta.url).href;
    const script = `const { openBench, UNCHECKED } = await import(${JSON.stringify(fixture)});
      const bench = openBench();
      const sandbox = await bench.driver.open({ ...bench.profile(), observeFiles: true });
      const onOutput = () => console.log(bench.workspace);
      await sandbox.release(UNCHECKED, { argv: ["sh", "-c", "echo up; exec sleep 60"] }, { onOutput });`;
    const gateway = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = once(gateway, "exit");
    const [workspace] = (await Promise.race([
      once(gateway.stdout, "data"),
      ended.then(() => assert.fail("the gateway ended before its tool ran")),
    ])) as [Buffer];
    const observer = observersOf(gateway.pid ?? 0)[0];
    assert.ok(observer !== undefined, "an observer is there");
    gateway.kill("SIGKILL");
    await ended;
    rmSync(dirname(workspace.toString().trim()), { recursive: true });
    const deadline = performance.now() + GONE_MS_MAX;
    while (existsSync(`/proc/${observer}`) && performance.now() < deadline) await sleep(10);
    assert.ok(!existsSync(`/proc/${observer}`), "it ended too");
  });

  it("tells of a tool that was killed, too", async () => {
    await using bench = openBench();
    const profile: Profile = { ...bench.profile({}, { wallMs: 300 }), observeFiles: true };
    const { execution } = await bench.run(["sh", "-c", "cat a.txt; sleep 60"], { profile });
    assert.ok(execution.outcome === "killed" && execution.observed !== undefined);
    assert.equal(timesOf(execution.observed, join(bench.workspace, "a.txt"), "read"), 1);
  });

  it("gives a path as it was named: links are not followed", async () => {
    await using bench = openBench();
    symlinkSync("/etc/shadow", join(bench.workspace, "link"));
    const { observed } = await run(bench, ["cat", "link"]);
    assert.equal(timesOf(observed, join(bench.workspace, "link"), "read"), 1);
    assert.equal(timesOf(observed, "/etc/shadow", "read"), 0);
  });

  it("is refused by name where a driver cannot, and together with explaining", async () => {
    await using bench = openBench();
    const other: Driver = {
      name: "other",
      supports: { ...bench.driver.supports, observesFiles: false },
      probe: () => bench.driver.probe(),
      open: (profile) => bench.driver.open(profile),
      [Symbol.asyncDispose]: async () => {},
    };
    const asked: Profile = { ...bench.profile(), observeFiles: true };
    assert.throws(() => selectDriver(asked, [other]), /other cannot observe which files are used/);
    assert.equal(selectDriver(asked, [other, bench.driver]).name, bench.driver.name);
    assert.throws(() => requireObservable(true), /cannot both observe files and explain/);
    await assert.rejects(bench.driver.open({ ...asked, explainSyscalls: true }), /cannot both observe/);
  });
});

describe("what an observer tells", () => {
  it("is taken for incomplete without its last line, and what is no line of it is left out", () => {
    const collected = new Collected();
    for (const line of ["r 2 2f61", "r 3 2f622f2e2e2f61", "z 1 2f61", "", "w 1 2f632f"]) collected.add(line);
    assert.deepEqual(collected.result(), {
      files: [
        { path: "/a", access: "read", times: 5 },
        { path: "/c", access: "write", times: 1 },
      ],
      further: 0,
      unread: 0,
      complete: false,
    });
    collected.add("end 4 2");
    assert.deepEqual(
      [collected.result().further, collected.result().unread, collected.result().complete],
      [4, 2, true],
    );
  });
});

function observersOf(parent: number): number[] {
  const text = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8");
  const children = text.trim().split(/\s+/).filter(Boolean).map(Number);
  return children.filter((pid) => /pidfd_getfd/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")));
}
