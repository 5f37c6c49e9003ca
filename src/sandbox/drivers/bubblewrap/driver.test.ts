import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { GateError } from "../../../contract/errors.ts";
import { detectLimits } from "../../limits/detect.ts";
import { nativeProgram } from "../../native.ts";
import { openBench, UNCHECKED } from "../../sandbox.fixture.ts";
import { BubblewrapDriver } from "./driver.ts";

const bySysadmin = process.geteuid?.() === 0;
/** Without a cgroup nothing bounds the share of the processors, and `cpu` says so. */
const stateOf = (name: string): string =>
  name === "cpu" && detectLimits().name === "rlimit" ? "unavailable" : "enforced";

describe("a call in bubblewrap", () => {
  test("every control is verified from the kernel, and Landlock by a trial inside", async () => {
    await using bench = openBench();
    const { controls } = await bench.run(["true"]);
    const native = nativeProgram("launch") !== undefined;
    for (const [name, control] of Object.entries(controls)) {
      assert.ok(control.evidence.length <= 300, name);
      if (name === "lsm" && !native) continue;
      assert.equal(control.state, stateOf(name), `${name}: ${control.evidence}`);
      assert.equal(control.basis, name === "lsm" ? "probed" : "verified", name);
    }
  });

  test("with bash for a launcher everything holds but Landlock, which says so", async () => {
    await using bench = openBench(undefined, null);
    const { controls, stdout } = await bench.run(["cat", "a.txt"]);
    const { lsm, ...others } = controls;
    assert.equal(stdout, "hello\n");
    assert.deepEqual(
      [lsm.state, lsm.evidence],
      ["unavailable", "no Landlock rules: they need the native launcher"],
    );
    for (const [name, control] of Object.entries(others)) assert.equal(control.state, stateOf(name), name);
  });

  test("output, error, exit code and standard input pass through", async () => {
    await using bench = openBench();
    const ran = await bench.run(["sh", "-c", "cat; cat a.txt; echo oops >&2; exit 3"], {
      stdin: Buffer.from("given "),
    });
    assert.equal(ran.execution.outcome, "exited");
    assert.equal(ran.execution.outcome === "exited" && ran.execution.exitCode, 3);
    assert.equal(ran.stdout, "given hello\n");
    assert.equal(ran.stderr, "oops\n");
  });

  test("binary output arrives to the byte, also through /dev/stdout by name", async () => {
    await using bench = openBench();
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const { execution } = await bench.run(["sh", "-c", "cat > /dev/stdout"], { stdin: all });
    assert.ok(execution.outcome === "exited");
    assert.deepEqual(Buffer.from(execution.stdout), all);
  });

  test("an argument keeps spaces, quotes, newlines and a leading dash; 100 kB of them too", async () => {
    await using bench = openBench();
    const argv = [
      "a b",
      "'\"$x`",
      "line\nline",
      "-n",
      "",
      ...Array.from({ length: 1000 }, () => "x".repeat(100)),
    ];
    const { stdout } = await bench.run(["printf", "%s\\0", ...argv]);
    assert.deepEqual(stdout.split("\0").slice(0, -1), argv);
  });

  test("the environment is what the profile says, and nothing of ours", async () => {
    await using bench = openBench();
    process.env["CALLGATE_TEST_SECRET"] = "s3cret-value";
    const { stdout } = await bench.run(["env"], { profile: bench.profile({ environment: { FOO: "a b" } }) });
    delete process.env["CALLGATE_TEST_SECRET"];
    const names = stdout
      .trim()
      .split("\n")
      .map((line) => line.split("=")[0]);
    // bash counts itself in SHLVL whatever it is told; the native launcher does not.
    assert.deepEqual(names.filter((name) => name !== "SHLVL" && name !== "_").sort(), [
      "FOO",
      "HOME",
      "LANG",
      "PATH",
      "TERM",
    ]);
  });

  test("a program that is not there is told apart from one that exits 127", async () => {
    await using bench = openBench();
    const missing = await bench.run(["no-such-program"]);
    assert.equal(missing.execution.outcome, "unstarted");
    assert.equal(missing.execution.outcome === "unstarted" && missing.execution.code, "ERR_COMMAND_START");
    const { execution } = await bench.run(["sh", "-c", "exit 127"]);
    assert.equal(execution.outcome === "exited" && execution.exitCode, 127);
    const dash = await bench.run(["-x"]);
    assert.equal(dash.execution.outcome, "unstarted");
  });

  test("cancelling kills the tree and says so", async () => {
    await using bench = openBench();
    const { execution } = await bench.run(["sleep", "30"], { signal: AbortSignal.timeout(100) });
    assert.equal(execution.outcome === "killed" && execution.killedBy, "abort");
  });

  test("a tool cannot speak for the first process, nor read or change it", async () => {
    await using bench = openBench();
    const script =
      "for f in mem maps environ fd/3; do cat /proc/1/$f >/dev/null 2>&1 && echo $f; echo X2 2>/dev/null >/proc/1/fd/3 && echo spoke; done; kill -9 1; echo still here";
    const { execution, stdout } = await bench.run(["bash", "-c", script]);
    assert.equal(execution.outcome, "exited");
    assert.equal(stdout, "still here\n");
  });

  test("a signal is named", async () => {
    await using bench = openBench();
    const { execution } = await bench.run(["sh", "-c", "kill -TERM $$"]);
    assert.ok(execution.outcome === "exited");
    assert.equal(execution.exitCode, 143);
    assert.equal(execution.signal, "SIGTERM");
  });

  test("nothing outlives the call, double forks in sessions of their own included", async () => {
    await using bench = openBench();
    const marker = `9${process.pid}${Date.now() % 100000}`;
    const { execution } = await bench.run([
      "sh",
      "-c",
      `(setsid sh -c 'sleep ${marker} >/dev/null 2>&1 &') ; exit 0`,
    ]);
    assert.equal(execution.outcome, "exited");
    const alive = readdirSync("/proc").filter(
      (pid) => /^\d+$/.test(pid) && commandLine(pid).includes(marker),
    );
    assert.deepEqual(alive, []);
  });

  test("a tool that is granted nothing of the workspace starts there, and finds it empty", async () => {
    await using bench = openBench();
    const profile = bench.profile({ files: { read: [], write: [], hide: [] } });
    const { stdout, execution } = await bench.run(["sh", "-c", "pwd; ls -A"], { profile });
    assert.equal(execution.outcome, "exited");
    assert.equal(stdout, `${bench.workspace}\n`);
  });

  test("a sandbox is used once", async () => {
    await using bench = openBench();
    await using sandbox = await bench.driver.open(bench.profile());
    await sandbox.release(UNCHECKED, { argv: ["true"] });
    await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"] }), { code: "ERR_INTERNAL" });
  });

  test("the host's uid 0 never enters", () => {
    const make = (): BubblewrapDriver =>
      new BubblewrapDriver({ folder: "/nonexistent", user: { uid: 0, gid: 0 } });
    assert.throws(make, { code: "ERR_INTERNAL" });
  });
});

describe("a tool's variables cannot speak to the launcher", () => {
  for (const name of ["UID", "IFS", "BASH_ENV", "CALLGATE_LEFT", "_", "SHLVL", "PPID", "m[0]", "a b"]) {
    test(`\`${name}\` is refused`, async () => {
      await using bench = openBench();
      assert.throws(() => bench.profile({ environment: { [name]: "1" } }), { code: "ERR_USAGE" });
    });
  }

  test("every one-letter name arrives with a value that looks like a command", async () => {
    await using bench = openBench();
    const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];
    const value = "a[$(printf E127 >&3; kill -9 $$)]";
    const environment = Object.fromEntries(letters.map((name) => [name, value]));
    const profile = bench.profile({ environment });
    const { stdout, stderr } = await bench.run(
      ["sh", "-c", 'echo "$n|$i|$m|$f|$PATH"; printenv | grep -c "^[a-zA-Z]=a"'],
      { profile },
    );
    assert.equal(stderr, "");
    const [shown = "", count] = stdout.trim().split("\n");
    assert.ok(shown.startsWith(`${value}|${value}|${value}|${value}|/`), shown);
    assert.equal(count, "52");
  });
});

describe("what a tool can reach", () => {
  test("a parent of a protected path cannot be moved aside", async () => {
    await using bench = openBench();
    makeOwned(join(bench.workspace, "conf"));
    makeOwned(join(bench.workspace, "conf/policies"));
    writeFileSync(join(bench.workspace, "conf/policies/p.cedar"), "permit");
    const profile = bench.profile({
      files: { read: [], write: ["."], hide: [] },
      ownProtected: [join(bench.workspace, "conf/policies/p.cedar")],
    });
    await bench.run(["sh", "-c", "mv conf gone; mv conf/policies gone; echo fine > conf/new"], { profile });
    assert.equal(readFileSync(join(bench.workspace, "conf/policies/p.cedar"), "utf8"), "permit");
    assert.equal(readFileSync(join(bench.workspace, "conf/new"), "utf8"), "fine\n");
  });

  test("a path to hide is hidden whatever link it is named through", async () => {
    await using bench = openBench();
    writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
    const link = join(bench.workspace, "../link");
    symlinkSync(bench.workspace, link);
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [join(link, ".env")] } });
    assert.equal((await bench.run(["cat", ".env"], { profile })).stdout, "");
  });

  test("a daemon's socket inside a readable folder cannot be connected to", async () => {
    await using bench = openBench();
    const path = join(bench.workspace, "d.sock");
    const server = createServer((socket) => socket.end("HOST")).listen(path);
    await once(server, "listening");
    chmodSync(path, 0o777);
    const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => "d.sock"); print $s ? <$s> : "refused"`;
    const { stdout } = await bench.run(["perl", "-e", script]);
    server.close();
    assert.equal(stdout, "refused");
  });

  test("the host's /proc below a granted folder stops the call", {
    skip: bySysadmin ? false : "only root mounts",
  }, async () => {
    await using bench = openBench();
    mkdirSync(join(bench.workspace, "p"));
    execFileSync("mount", ["-t", "proc", "proc", join(bench.workspace, "p")]);
    try {
      await using sandbox = await bench.driver.open(bench.profile());
      assert.match((await sandbox.inspect()).mounts.evidence, /p is the host's proc/);
    } finally {
      execFileSync("umount", [join(bench.workspace, "p")]);
    }
  });

  test("one call's input never reaches another, and no descriptor stays open", async () => {
    await using bench = openBench();
    await bench.run(["true"]);
    const before = readdirSync("/proc/self/fd").length;
    const sources = Array.from({ length: 5 }, () => new PassThrough());
    for (const stdin of sources) await bench.run(["true"], { stdin });
    const late = bench.run(["sh", "-c", "sleep 0.2; echo mine; echo mine >&2"]);
    for (const source of sources) source.write("LEAK\n");
    const { stdout, stderr } = await late;
    assert.equal(stdout + stderr, "mine\nmine\n");
    assert.ok(readdirSync("/proc/self/fd").length <= before);
  });

  test("the workspace is readable and not writable; /tmp and home are its own and gone afterwards", async () => {
    await using bench = openBench();
    const { stdout, stderr } = await bench.run([
      "sh",
      "-c",
      "echo x > a.txt; echo x > /usr/x; echo y > /tmp/y && echo z > ~/z && cat /tmp/y ~/z; ls -A /home",
    ]);
    assert.equal(stdout, "y\nz\ntool\n");
    assert.match(stderr, /a\.txt: Read-only file system/);
    assert.match(stderr, /\/usr\/x: Read-only file system/);
    const again = await bench.run(["ls", "-A", "/tmp"]);
    assert.ok(!again.stdout.split("\n").includes("y"));
  });

  test("a granted path is writable, and only that", async () => {
    await using bench = openBench();
    makeOwned(join(bench.workspace, "out"));
    const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [] } });
    const { stderr } = await bench.run(["sh", "-c", "echo w > out/w; echo w > w"], { profile });
    assert.equal(readFileSync(join(bench.workspace, "out/w"), "utf8"), "w\n");
    assert.match(stderr, /cannot create w: Read-only/);
  });

  test("a hidden file and a hidden folder cannot be read", async () => {
    await using bench = openBench();
    writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
    mkdirSync(join(bench.workspace, "keys"));
    writeFileSync(join(bench.workspace, "keys/k"), "KEY");
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env", "keys"] } });
    const { stdout, controls } = await bench.run(["sh", "-c", "cat .env keys/k; ls -A keys"], { profile });
    assert.equal(stdout, "");
    assert.equal(controls.mounts.state, "enforced");
  });

  test("a protected path inside a writable tree is readable, and cannot be written, removed or renamed", async () => {
    await using bench = openBench();
    makeOwned(join(bench.workspace, "policies"));
    writeFileSync(join(bench.workspace, "policies/p.cedar"), "permit");
    const profile = bench.profile({
      files: { read: [], write: ["."], hide: [] },
      ownProtected: [join(bench.workspace, "policies")],
    });
    const script =
      "cat policies/p.cedar; echo x > policies/p.cedar; rm -f policies/p.cedar; mv policies gone; echo ok > b";
    const { stdout } = await bench.run(["sh", "-c", script], { profile });
    assert.equal(stdout, "permit");
    assert.equal(readFileSync(join(bench.workspace, "policies/p.cedar"), "utf8"), "permit");
    assert.equal(readFileSync(join(bench.workspace, "b"), "utf8"), "ok\n");
  });

  test("a mount that was undone from outside while the sandbox waited is found at release", async () => {
    await using bench = openBench();
    writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env"] } });
    await using sandbox = await bench.driver.open(profile);
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    renameSync(join(bench.workspace, ".env"), join(bench.workspace, ".env.moved"));
    const { mounts } = await sandbox.inspect();
    assert.equal(mounts.state, "unavailable");
    assert.match(mounts.evidence, /\.env/);
  });

  test("a path to hide that appears only while the sandbox waits stops the call", async () => {
    await using bench = openBench();
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env"] } });
    await using sandbox = await bench.driver.open(profile);
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
    assert.match((await sandbox.inspect()).mounts.evidence, /\.env has appeared/);
  });

  test("no network, no host processes, no other user namespaces, no kernel knobs", async () => {
    await using bench = openBench();
    const script = `
      (echo > /dev/tcp/127.0.0.1/9) 2>&1 | grep -om1 'Connection refused' ; (echo > /dev/tcp/192.0.2.1/80) 2>&1 | grep -om1 'Network is unreachable'
      ls /proc | grep -c '^[0-9]'
      unshare -U true 2>/dev/null || echo no-userns
      echo x 2>/dev/null > /proc/sys/kernel/core_pattern || echo no-knobs
      mount -t tmpfs none /tmp 2>/dev/null || echo no-mount`;
    const { stdout } = await bench.run(["bash", "-c", script]);
    const [refused, unreachable, processes, ...denied] = stdout.trim().split("\n");
    assert.equal(refused, "Connection refused");
    assert.equal(unreachable, "Network is unreachable");
    assert.ok(Number(processes) < 8, processes);
    assert.deepEqual(denied, ["no-userns", "no-knobs", "no-mount"]);
  });

  test("descriptors that the gateway was itself given do not enter", async () => {
    await using bench = openBench();
    // A child that inherits a stray descriptor 9, and opens a sandbox.
    const script = `
      import { BubblewrapDriver } from ${JSON.stringify(new URL("./driver.ts", import.meta.url).href)};
      const driver = new BubblewrapDriver(${JSON.stringify({ folder: bench.folder, user: userOf(bench.workspace) })});
      const profile = JSON.parse(process.argv[1]);
      await using sandbox = await driver.open(profile);
      const { descriptors } = await sandbox.inspect();
      const ran = await sandbox.release({}, { argv: ["sh", "-c", "ls -l /proc/self/fd /proc/1/fd; cat <&9"] });
      console.log(JSON.stringify({ descriptors, out: Buffer.from(ran.stdout).toString() }));`;
    const secret = join(bench.folder, "secret");
    writeFileSync(secret, "STRAY");
    const stray = openSync(secret, "r");
    const stdio = [
      "ignore",
      "pipe",
      "inherit",
      "ignore",
      "ignore",
      "ignore",
      "ignore",
      "ignore",
      "ignore",
      stray,
    ] as const;
    const child = spawn(
      process.execPath,
      ["--input-type=module", "-e", script, JSON.stringify(bench.profile())],
      { stdio: [...stdio] },
    );
    let text = "";
    child.stdout?.on("data", (chunk) => (text += chunk));
    await once(child, "close");
    const { descriptors, out } = JSON.parse(text) as { descriptors: { state: string }; out: string };
    assert.equal(descriptors.state, "enforced");
    assert.doesNotMatch(out, /STRAY|secret/);
  });
});

describe("a sandbox that cannot be built", () => {
  test("says why, and the next one is unaffected", async () => {
    await using bench = openBench();
    const good = bench.profile();
    const broken = { ...good, files: { ...good.files, read: ["/no/such/folder"] } };
    await assert.rejects(
      bench.driver.open(broken),
      (error) =>
        error instanceof GateError &&
        error.code === "ERR_SANDBOX_START" &&
        /no\/such\/folder/.test(error.message),
    );
    assert.equal((await bench.run(["true"])).execution.outcome, "exited");
  });

  test("a granted folder swapped for a link after the profile was built stops the call", async () => {
    await using bench = openBench();
    makeOwned(join(bench.workspace, "data"));
    const outside = join(bench.folder, "outside");
    mkdirSync(outside, { recursive: true });
    if (bySysadmin) chownSync(bench.folder, 0, 0);
    const profile = bench.profile({ files: { read: ["data"], write: [], hide: [] }, workingDirectory: "/" });
    renameSync(join(bench.workspace, "data"), join(bench.workspace, "data.was"));
    symlinkSync("/usr/share", join(bench.workspace, "data"));
    await using sandbox = await bench.driver.open(profile);
    const { mounts } = await sandbox.inspect();
    assert.equal(mounts.state, "unavailable");
    assert.match(mounts.evidence, /data is another folder/);
  });
});

function makeOwned(path: string): void {
  mkdirSync(path);
  if (bySysadmin) chownSync(path, 65_533, 65_533);
}

function userOf(_workspace: string): { uid: number; gid: number } {
  return bySysadmin
    ? { uid: 65_533, gid: 65_533 }
    : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
