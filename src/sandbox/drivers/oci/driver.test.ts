import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { KilledBy } from "../../../contract/execution.ts";
import type { Limits } from "../../../contract/profile.ts";
import { TIER_MINIMUMS } from "../../../contract/tier.ts";
import { detectLimits } from "../../limits/detect.ts";
import { UNCHECKED } from "../../sandbox.fixture.ts";
import { openOciBench } from "./oci.fixture.ts";
import { findRuntime } from "./probe.ts";
import { RUNTIMES } from "./runtimes.ts";

const MIB = 1024 * 1024;
const hasCgroup = detectLimits().name !== "rlimit";

const FORKS = [
  "perl",
  "-e",
  'for (0 .. 200) { my $p = fork; defined $p or print "refused after $_: $!\\n" and exit; $p or sleep 20 and exit }',
];

type LimitCase = readonly [KilledBy, readonly string[], Partial<Limits>, Buffer?];
const PROCESSES: LimitCase = ["processes", FORKS, { processes: 8 }];

for (const runtime of ["runc", "runsc"] as const) {
  const isGuest = RUNTIMES[runtime].ownKernel;
  describe(`a call in ${runtime}`, {
    skip: findRuntime(RUNTIMES[runtime]) === undefined ? `${runtime} is not installed` : false,
  }, () => {
    test("every control that the highest tier requires is enforced", async () => {
      await using bench = openOciBench(runtime);
      const { controls } = await bench.run(["true"]);
      for (const name of TIER_MINIMUMS.critical.controls) {
        const control = controls[name];
        assert.equal(control.state, "enforced", `${name}: ${control.evidence}`);
        assert.ok(control.evidence.length <= 300, name);
      }
      assert.equal(controls.mounts.basis, "verified");
      assert.equal(controls.seccomp.basis, isGuest ? "probed" : "verified");
      assert.equal(controls.lsm.state, isGuest ? "unavailable" : "enforced", controls.lsm.evidence);
      assert.doesNotMatch(controls.user.evidence, /host uid 0\b/);
    });

    test("output, error, exit code, standard input and binary output pass through", async () => {
      await using bench = openOciBench(runtime);
      const ran = await bench.run(["sh", "-c", "cat > /dev/stdout; cat a.txt; echo oops >&2; exit 3"], {
        stdin: Buffer.from([0, 255, 10]),
      });
      assert.equal(ran.execution.outcome === "exited" && ran.execution.exitCode, 3);
      assert.ok(ran.execution.outcome === "exited");
      assert.deepEqual(
        Buffer.from(ran.execution.stdout),
        Buffer.from([0, 255, 10, ...Buffer.from("hello\n")]),
      );
      assert.equal(ran.stderr, "oops\n");
    });

    test("arguments keep what they hold, 100 kB of them too, and the environment is the profile's", async () => {
      await using bench = openOciBench(runtime);
      const argv = [
        "a b",
        "'\"$x`",
        "line\nline",
        "-n",
        "",
        ...Array.from({ length: 1000 }, () => "x".repeat(100)),
      ];
      assert.deepEqual((await bench.run(["printf", "%s\\0", ...argv])).stdout.split("\0").slice(0, -1), argv);
      const { stdout } = await bench.run(["env"], {
        profile: bench.profile({ environment: { FOO: "a b" } }),
      });
      const names = stdout
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0]);
      assert.deepEqual(names.sort(), ["FOO", "HOME", "LANG", "PATH", "TERM"]);
    });

    test("a program that is not there is told apart from one that exits 127; a signal is named", async () => {
      await using bench = openOciBench(runtime);
      const missing = await bench.run(["no-such-program"]);
      assert.equal(missing.execution.outcome === "unstarted" && missing.execution.code, "ERR_COMMAND_START");
      assert.match(missing.execution.outcome === "unstarted" ? missing.execution.message : "", /ENOENT/);
      const { execution } = await bench.run(["sh", "-c", "exit 127"]);
      assert.equal(execution.outcome === "exited" && execution.exitCode, 127);
      const ended = await bench.run(["sh", "-c", "kill -TERM $$"]);
      assert.equal(ended.execution.outcome === "exited" && ended.execution.signal, "SIGTERM");
    });

    test("users are looked up, threads start, a namespace, a mount and a knob are refused, no network", async () => {
      await using bench = openOciBench(runtime);
      const script = `
        whoami
        python3 -c 'import threading; t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()'
        unshare -U true 2>/dev/null || echo no-userns
        mount -t tmpfs none /tmp 2>/dev/null || echo no-mount
        echo x 2>/dev/null > /proc/sys/kernel/core_pattern || echo no-knobs
        (echo > /dev/tcp/192.0.2.1/80) 2>/dev/null || echo no-network`;
      const { stdout } = await bench.run(["bash", "-c", script]);
      assert.deepEqual(stdout.trim().split("\n"), [
        "tool",
        "thread",
        "no-userns",
        "no-mount",
        "no-knobs",
        "no-network",
      ]);
    });

    test("what is granted is seen, what is hidden is not, and only what may be written is written", async () => {
      await using bench = openOciBench(runtime);
      const out = bench.makeFolder("out");
      writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
      writeFileSync(join(bench.makeFolder("keys"), "k"), "KEY");
      writeFileSync(join(out, "callgate.yaml"), "version: 1\n");
      const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [".env", "keys"] } });
      const script = `cat a.txt .env keys/k; ls -A keys; echo w > out/w; echo w > w; echo evil > out/callgate.yaml
        rm -f out/callgate.yaml; mv out gone; echo t > /tmp/t && cat /tmp/t; echo h > ~/h && cat ~/h; echo u > /usr/u`;
      const { stdout, stderr } = await bench.run(["sh", "-c", script], { profile });
      assert.equal(stdout, "hello\nt\nh\n");
      assert.equal(readFileSync(join(out, "w"), "utf8"), "w\n");
      assert.equal(readFileSync(join(out, "callgate.yaml"), "utf8"), "version: 1\n");
      assert.match(stderr, /cannot create w: Read-only file system/);
      assert.match(stderr, /\/usr\/u: (?:Read-only file system|Permission denied)/);
    });

    test("what is hidden in a folder that is only read is hidden too", async () => {
      await using bench = openOciBench(runtime);
      writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
      writeFileSync(join(bench.makeFolder("keys"), "k"), "KEY");
      const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env", "keys"] } });
      const { stdout, execution } = await bench.run(["sh", "-c", "cat .env keys/k; ls -A keys; cat a.txt"], {
        profile,
      });
      assert.equal(execution.outcome, "exited");
      assert.equal(stdout, "hello\n");
    });

    test("root's private files are read and written as theirs, by a process that is not root", {
      skip: process.geteuid?.() === 0 ? false : "only root shows them as another's",
    }, async () => {
      await using bench = openOciBench(runtime);
      const own = join(bench.workspace, "root");
      mkdirSync(join(own, "out"), { recursive: true });
      writeFileSync(join(own, "private"), "for root\n", { mode: 0o600 });
      for (const path of [own, join(own, "out")]) chmodSync(path, 0o700);
      const profile = bench.profile({
        files: { read: ["root"], write: ["root/out"], hide: [] },
        workingDirectory: own,
      });
      const script = "cat private; echo made > out/made; echo no > no; chmod 6755 out/made";
      const { stdout, stderr, controls } = await bench.run(["sh", "-c", script], { profile });
      assert.equal(stdout, "for root\n", stderr);
      const made = statSync(join(own, "out/made"));
      assert.equal(made.uid, 0);
      assert.equal(made.mode & 0o6000, 0);
      assert.throws(() => statSync(join(own, "no")));
      assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
    });

    test("a hidden file that is moved away while the sandbox waits is found at release", async () => {
      await using bench = openOciBench(runtime);
      writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
      const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env"] } });
      await using sandbox = await bench.driver.open(profile);
      assert.equal((await sandbox.inspect()).mounts.state, "enforced");
      renameSync(join(bench.workspace, ".env"), join(bench.workspace, ".env.moved"));
      const { mounts } = await sandbox.inspect();
      assert.equal(mounts.state, "unavailable");
      assert.match(mounts.evidence, /\.env is not mounted/);
    });

    test("a granted folder that was swapped for a link stops the call", async () => {
      await using bench = openOciBench(runtime);
      const data = bench.makeFolder("data");
      const profile = bench.profile({
        files: { read: ["data"], write: [], hide: [] },
        workingDirectory: "/",
      });
      renameSync(data, `${data}.was`);
      symlinkSync("/usr/share", data);
      await using sandbox = await bench.driver.open(profile);
      const { mounts } = await sandbox.inspect();
      assert.equal(mounts.state, "unavailable");
      assert.match(mounts.evidence, /data is another folder/);
    });

    test("nothing outlives the call, double forks in sessions of their own included", async () => {
      await using bench = openOciBench(runtime);
      const before = ownProcesses();
      const script = "(setsid sh -c 'sleep 600 >/dev/null 2>&1 &') ; exit 0";
      assert.equal((await bench.run(["sh", "-c", script])).execution.outcome, "exited");
      assert.deepEqual(
        ownProcesses().filter((pid) => !before.includes(pid)),
        [],
      );
    });

    test("one call leaves no descriptor and no file behind", async () => {
      await using bench = openOciBench(runtime);
      await bench.run(["true"]);
      const count = (): number[] => [
        readdirSync("/proc/self/fd").length,
        readdirSync(bench.folder, { recursive: true }).length,
      ];
      const before = count();
      for (let i = 0; i < 3; i += 1) await bench.run(["true"]);
      assert.deepEqual(count(), before);
    });

    test("a sandbox is used once", async () => {
      await using bench = openOciBench(runtime);
      await using sandbox = await bench.driver.open(bench.profile());
      await sandbox.release(UNCHECKED, { argv: ["true"] });
      await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"] }), { code: "ERR_INTERNAL" });
    });

    const limits: readonly LimitCase[] = [
      ["wall", ["sleep", "30"], { wallMs: 300 }],
      ["output", ["yes"], { outputBytes: 1000 }],
      ["input", ["cat"], { inputBytes: 10 }, Buffer.alloc(20)],
      ["cpu", ["sh", "-c", "while :; do :; done"], { cpuMs: 1500 }],
      ["memory", ["perl", "-e", '$x = "a" x 400_000_000; sleep 20'], { memoryBytes: 48 * MIB }],
      ...(isGuest ? [] : [PROCESSES]),
    ];
    for (const [reason, argv, bounds, stdin] of limits) {
      const needsCgroup = reason === "memory" || reason === "processes" || (isGuest && reason === "cpu");
      test(`the limit \`${reason}\` names itself`, {
        skip: needsCgroup && !hasCgroup ? "no cgroup is writable here" : false,
      }, async () => {
        await using bench = openOciBench(runtime);
        const profile = bench.profile({}, bounds);
        const { execution } = await bench.run(argv, { profile, ...(stdin === undefined ? {} : { stdin }) });
        assert.ok(execution.outcome === "killed", JSON.stringify({ ...execution, stdout: "", stderr: "" }));
        assert.equal(execution.killedBy, reason);
      });
    }

    test("a guest counts its processes itself, and refuses the next one", {
      skip: isGuest ? false : "the host's kernel counts them",
    }, async () => {
      await using bench = openOciBench(runtime);
      const { stdout } = await bench.run(FORKS, { profile: bench.profile({}, { processes: 8 }) });
      const [, count] = /^refused after (\d+): Resource temporarily unavailable$/m.exec(stdout) ?? [];
      assert.ok(Number(count) >= 6 && Number(count) <= 10, stdout);
    });

    test("cancelling kills the tree and says so", async () => {
      await using bench = openOciBench(runtime);
      const { execution } = await bench.run(["sleep", "30"], { signal: AbortSignal.timeout(300) });
      assert.equal(execution.outcome === "killed" && execution.killedBy, "abort");
    });
  });
}

/** Processes of the users that sandboxes run as, or of this one. */
function ownProcesses(): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      // Other test files run such processes of their own meanwhile: those of this one are in its groups.
      const group = readFileSync(`/proc/${pid}/cgroup`, "utf8");
      if (hasCgroup && !group.includes(`/callgate-${process.pid}-`)) return false;
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return /runsc|runc|callgate-launch/.test(command) || command.startsWith("sleep\x00600\x00");
    } catch {
      return false;
    }
  });
}
