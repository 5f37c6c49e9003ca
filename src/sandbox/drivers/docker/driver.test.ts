import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { KilledBy } from "../../../contract/execution.ts";
import type { Limits } from "../../../contract/profile.ts";
import { UNCHECKED } from "../../sandbox.fixture.ts";
import { ROOT_STANDS_BACK } from "../../user.ts";
import { type Daemon, openDockerBench, REMAPPED_FROM, startDaemon, whyNoDaemon } from "./docker.fixture.ts";
import { DockerDriver } from "./driver.ts";

const MIB = 1024 * 1024;
const missing = whyNoDaemon();

describe("a call in a Docker container", { skip: missing ?? false }, () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(async () => {
    await daemon[Symbol.asyncDispose]();
  });

  test("every control but the host's label is verified from the kernel", async () => {
    await using bench = openDockerBench(daemon);
    const { controls } = await bench.run(["true"]);
    const { lsm, ...others } = controls;
    assert.match(lsm.evidence, /label/);
    for (const [name, control] of Object.entries(others)) {
      assert.equal(control.state, "enforced", `${name}: ${control.evidence}`);
      assert.equal(control.basis, "verified", name);
      assert.ok(control.evidence.length <= 300, name);
    }
    assert.match(controls.namespaces.evidence, /user shared with the host/);
  });

  test("output, error, exit code and standard input pass through", async () => {
    await using bench = openDockerBench(daemon);
    const ran = await bench.run(["sh", "-c", "cat; cat a.txt; echo oops >&2; exit 3"], {
      stdin: Buffer.from("given "),
    });
    assert.equal(ran.execution.outcome === "exited" && ran.execution.exitCode, 3);
    assert.equal(ran.stdout, "given hello\n");
    assert.equal(ran.stderr, "oops\n");
  });

  test("binary output arrives to the byte, also through /dev/stdout by name", async () => {
    await using bench = openDockerBench(daemon);
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const { execution } = await bench.run(["sh", "-c", "cat > /dev/stdout"], { stdin: all });
    assert.ok(execution.outcome === "exited");
    assert.deepEqual(Buffer.from(execution.stdout), all);
  });

  test("100 kB of arguments, spaces, quotes and newlines among them", async () => {
    await using bench = openDockerBench(daemon);
    const argv = ["a b", "'\"$x`", "l\nl", "-n", "", ...Array.from({ length: 1000 }, () => "x".repeat(100))];
    const { stdout } = await bench.run(["printf", "%s\\0", ...argv]);
    assert.deepEqual(stdout.split("\0").slice(0, -1), argv);
  });

  test("a signal is named, and a program that is not there is told apart from one that exits 127", async () => {
    await using bench = openDockerBench(daemon);
    const { execution: signalled } = await bench.run(["sh", "-c", "kill -TERM $$"]);
    assert.equal(signalled.outcome === "exited" && signalled.signal, "SIGTERM");
    const { execution: absent } = await bench.run(["no-such-program"]);
    assert.equal(absent.outcome === "unstarted" && absent.code, "ERR_COMMAND_START");
    const { execution: own } = await bench.run(["sh", "-c", "exit 127"]);
    assert.equal(own.outcome === "exited" && own.exitCode, 127);
  });

  test("what the image asks for is not given: variables, volumes, health checks, users, entry points", async () => {
    await using bench = openDockerBench(daemon);
    const image = await daemon.importImage([
      "ENV LD_PRELOAD=/evil.so BASH_ENV=/etc/evil FOO=image PATH=/evil",
      "VOLUME /data",
      "HEALTHCHECK CMD /evil",
      "USER root",
      "ENTRYPOINT /evil",
      "WORKDIR /evil",
    ]);
    const profile = bench.profile({ root: { from: "image", reference: `local@${image}` } });
    const ran = await bench.run(["sh", "-c", "env | cut -d= -f1 | sort; id -u; echo x > /data/x; pwd"], {
      profile,
    });
    assert.equal(ran.controls.environment.state, "enforced", ran.controls.environment.evidence);
    assert.equal(ran.controls.mounts.state, "enforced", ran.controls.mounts.evidence);
    const names = ["HOME", "LANG", "PATH", "PWD", "SHLVL", "TERM"];
    assert.equal(ran.stdout, [...names, "65533", bench.workspace, ""].join("\n"));
  });

  test("a sandbox is used once, and the host's uid 0 never enters", async () => {
    await using bench = openDockerBench(daemon);
    await using sandbox = await bench.driver.open(bench.profile());
    await sandbox.release(UNCHECKED, { argv: ["true"] });
    await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"] }), { code: "ERR_INTERNAL" });
    const settings = { socket: daemon.socket, runtime: "runc" };
    assert.throws(() => new DockerDriver({ folder: bench.folder, user: { uid: 0, gid: 0 }, settings }), {
      code: "ERR_INTERNAL",
    });
  });

  test("nothing outlives the call: no process, no container, no folder, no descriptor", async () => {
    await using bench = openDockerBench(daemon);
    await bench.run(["true"]);
    const before = readdirSync("/proc/self/fd").length;
    const marker = `9${process.pid}${Date.now() % 100000}`;
    await bench.run(["sh", "-c", `(setsid sh -c 'sleep ${marker} >/dev/null 2>&1 &'); exit 0`]);
    assert.deepEqual(processesNaming(marker), []);
    await bench.driver[Symbol.asyncDispose]();
    // The daemon lists one that it is removing for a moment more.
    for (let tries = 0; (await daemon.containers()).length > 0 && tries < 200; tries += 1) await sleep(10);
    assert.deepEqual(await daemon.containers(), []);
    assert.deepEqual(
      readdirSync(bench.folder).filter((name) => name.startsWith("cell-")),
      [],
    );
    assert.ok(readdirSync("/proc/self/fd").length <= before);
  });

  test("a tool reaches no channel of the launcher, and cannot say that it was never started", async () => {
    await using bench = openDockerBench(daemon);
    // Every descriptor of every process inside, by name and by number, is told that nothing was started.
    const script = `
      ls -A /.callgate/channels; ls -l /proc/1/fd | grep -c channels; echo ran
      for fd in 3 4 5; do { printf 'X2\\nE127\\n' >&$fd; } 2>/dev/null && echo held; done
      for fd in /proc/[0-9]*/fd/*; do
        case $fd in */0|*/1|*/2|/proc/1/fd/6) continue;; esac
        { printf 'X2\\nE127\\nLforged\\n' > "$fd"; } 2>/dev/null
      done
      sleep 0.1; printf 'X2\\nE127\\n' > /proc/1/fd/6; sleep 20`;
    const heard: Uint8Array[] = [];
    const listening = { onOutput: (_: string, chunk: Uint8Array) => void heard.push(chunk) };
    // Not `unstarted` in the launcher's words, and not an end of its own making: nobody knows how it ended.
    await assert.rejects(bench.run(["sh", "-c", script], listening), /lost before the tool's end was seen/);
    assert.equal(Buffer.concat(heard).toString(), "2\nran\n");
  });

  test("a tool that says itself how it ended is believed that far: the call ends, and all there is inside", async () => {
    await using bench = openDockerBench(daemon);
    const marker = `9${process.pid}${Date.now() % 100000}`;
    const script = `sleep ${marker} & printf '0\\n' > /proc/1/fd/6; wait`;
    const { execution } = await bench.run(["sh", "-c", script]);
    assert.equal(execution.outcome, "exited");
    assert.deepEqual(processesNaming(marker), []);
  });

  test("the container's root is read-only; scratch folders are its own and bounded", async () => {
    await using bench = openDockerBench(daemon);
    const script = `for f in a.txt /bin/x /etc/x /dev/x /sys/x /.callgate/x; do echo x > $f; done 2>&1 | grep -c -e Read-only -e denied
      echo y > /tmp/y && echo z > ~/z && echo s > /dev/shm/s && cat /tmp/y ~/z /dev/shm/s
      dd if=/dev/zero of=/tmp/big bs=1M count=8 2>&1 | grep -o 'No space left'; cat /etc/image`;
    const profile = bench.profile({}, { scratchBytes: 4 * MIB });
    const { stdout } = await bench.run(["sh", "-c", script], { profile });
    assert.equal(stdout, "6\ny\nz\ns\nNo space left\nof the image\n");
  });

  test("a granted path is writable and only that; a folder below it that is mounted on the host is not seen", async () => {
    await using bench = openDockerBench(daemon);
    makeOwned(join(bench.workspace, "out"));
    mkdirSync(join(bench.workspace, "out/p"));
    execFileSync("mount", ["-t", "proc", "proc", join(bench.workspace, "out/p")]);
    try {
      const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [] } });
      const { stdout, controls } = await bench.run(["sh", "-c", "echo w > out/w; echo w > w; ls -A out/p"], {
        profile,
      });
      assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
      assert.equal(readFileSync(join(bench.workspace, "out/w"), "utf8"), "w\n");
      assert.equal(stdout, "");
      assert.ok(!readdirSync(bench.workspace).includes("w"));
    } finally {
      execFileSync("umount", [join(bench.workspace, "out/p")]);
    }
  });

  test("hidden files and folders cannot be read, and their parents cannot be moved aside", async () => {
    await using bench = openDockerBench(daemon);
    makeOwned(join(bench.workspace, "conf"));
    makeOwned(join(bench.workspace, "conf/keys"));
    writeFileSync(join(bench.workspace, "conf/.env"), "TOKEN=1");
    writeFileSync(join(bench.workspace, "conf/keys/k"), "KEY");
    const profile = bench.profile({
      files: { read: [], write: ["."], hide: ["conf/.env", "conf/keys", "none"] },
    });
    const script =
      "cat conf/.env conf/keys/k; ls -A conf/keys; mv conf gone; echo x > conf/.env; cat gone/.env";
    const { stdout, controls } = await bench.run(["sh", "-c", script], { profile });
    assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
    assert.equal(stdout, "");
    assert.equal(readFileSync(join(bench.workspace, "conf/.env"), "utf8"), "TOKEN=1");
  });

  test("protected paths inside a writable tree, one of them absent", async () => {
    await using bench = openDockerBench(daemon);
    makeOwned(join(bench.workspace, "policies"));
    writeFileSync(join(bench.workspace, "policies/p.cedar"), "permit");
    const files = { read: [], write: [bench.workspace], hide: [] };
    const absent = join(bench.workspace, "absent");
    const profile = bench.profile({ files });
    const protect = [...new Set([...profile.files.protect, join(bench.workspace, "policies"), absent])];
    const script = `cat policies/p.cedar; echo x > policies/p.cedar; rm -f policies/p.cedar; mv policies gone
      mkdir absent; echo x > absent/x; rmdir absent; ls -A absent; echo ok > b`;
    const { stdout, controls } = await bench.run(["sh", "-c", script], {
      profile: { ...profile, files: { ...profile.files, protect } },
    });
    assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
    assert.equal(stdout, "permit");
    assert.equal(readFileSync(join(bench.workspace, "policies/p.cedar"), "utf8"), "permit");
    assert.equal(readFileSync(join(bench.workspace, "b"), "utf8"), "ok\n");
    assert.ok(!readdirSync(bench.workspace).includes("absent"));
  });

  test("a mount that was undone from outside while the container waited is found at release", async () => {
    await using bench = openDockerBench(daemon);
    writeFileSync(join(bench.workspace, ".env"), "TOKEN=1");
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env", "later"] } });
    await using sandbox = await bench.driver.open(profile);
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    renameSync(join(bench.workspace, ".env"), join(bench.workspace, ".env.moved"));
    assert.match((await sandbox.inspect()).mounts.evidence, /\.env is not mounted/);
    writeFileSync(join(bench.workspace, "later"), "TOKEN=2");
    assert.match((await sandbox.inspect()).mounts.evidence, /later has appeared/);
  });

  test("staged writes go to the copy that is named", async () => {
    await using bench = openDockerBench(daemon);
    makeOwned(join(bench.workspace, "../copy"));
    const asked = bench.profile({ files: { read: [], write: ["."], hide: [] } });
    const profile = { ...asked, files: { ...asked.files, staged: true } } as const;
    const copyOf = (path: string): string => join(path, "../copy");
    await using sandbox = await bench.driver.open(profile, { copyOf });
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    await sandbox.release(UNCHECKED, { argv: ["sh", "-c", "echo w > w"] });
    assert.deepEqual(readdirSync(join(bench.workspace, "../copy")), ["w"]);
    assert.ok(!readdirSync(bench.workspace).includes("w"));
  });

  test("no network, no host processes, no user namespaces, no mounts, no kernel knobs, no daemon", async () => {
    await using bench = openDockerBench(daemon);
    const script = `
      nc -w 1 192.0.2.1 80 2>&1 | grep -o 'unreachable'
      ls /proc | grep -c '^[0-9]'
      unshare -U true 2>/dev/null || echo no-userns
      mount -t tmpfs none /tmp 2>/dev/null || echo no-mount
      echo x 2>/dev/null > /proc/sys/kernel/core_pattern || echo no-knobs
      find / -xdev -name '*.sock' 2>/dev/null`;
    const { stdout } = await bench.run(["sh", "-c", script]);
    const [unreachable, processes, ...denied] = stdout.trim().split("\n");
    assert.equal(unreachable, "unreachable");
    assert.ok(Number(processes) < 8, processes);
    assert.deepEqual(denied, ["no-userns", "no-mount", "no-knobs"]);
  });

  describe("limits name themselves", () => {
    const cases: readonly [KilledBy, readonly string[], Partial<Limits>, Buffer?][] = [
      ["wall", ["sleep", "30"], { wallMs: 200 }],
      ["output", ["yes"], { outputBytes: 1000 }],
      ["input", ["cat"], { inputBytes: 10 }, Buffer.alloc(20)],
      ["cpu", ["sh", "-c", "while :; do :; done"], { cpuMs: 300 }],
      ["memory", ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"], { memoryBytes: 48 * MIB }],
      [
        "processes",
        ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 20 & done; wait"],
        { processes: 8 },
      ],
    ];
    for (const [reason, argv, limits, stdin] of cases) {
      test(`${reason}`, async () => {
        await using bench = openDockerBench(daemon);
        const profile = bench.profile({}, limits);
        const input = stdin === undefined ? {} : { stdin };
        const { execution } = await bench.run(argv, { profile, ...input });
        assert.ok(execution.outcome === "killed", JSON.stringify(execution));
        assert.equal(execution.killedBy, reason);
        assert.ok((execution.usage.cpuMs ?? -1) >= (limits.cpuMs ?? 0));
        assert.ok((execution.usage.memoryBytesMax ?? 0) > 0);
      });
    }

    test("abort", async () => {
      await using bench = openDockerBench(daemon);
      await using sandbox = await bench.driver.open(bench.profile());
      const { execution } = {
        execution: await sandbox.release(
          UNCHECKED,
          { argv: ["sleep", "30"] },
          { signal: AbortSignal.abort() },
        ),
      };
      assert.equal(execution.outcome === "killed" && execution.killedBy, "abort");
    });

    test("open files and file size are rlimits of every process", async () => {
      await using bench = openDockerBench(daemon);
      const profile = bench.profile({}, { openFiles: 100, fileSizeBytes: MIB });
      const script = "ulimit -n; ulimit -c; dd if=/dev/zero of=/tmp/f bs=1M count=2 2>/dev/null; echo $?";
      const { stdout } = await bench.run(["sh", "-c", script], { profile });
      assert.equal(stdout.split("\n").slice(0, 2).join(" "), "100 0");
      assert.notEqual(stdout.split("\n")[2], "0");
    });
  });
});

describe("a daemon that remaps users", { skip: missing ?? false }, () => {
  test("a container has a user namespace of its own, and the host sees another user", async () => {
    await using daemon = await startDaemon({ remap: true });
    await using bench = openDockerBench(daemon);
    const { controls, stdout } = await bench.run([
      "sh",
      "-c",
      "id -u; cat a.txt; echo t > /tmp/t; cat /tmp/t",
    ]);
    const { uid } = ROOT_STANDS_BACK;
    assert.equal(stdout, `${uid}\nhello\nt\n`);
    assert.match(controls.namespaces.evidence, /, user \d+$/);
    assert.match(controls.user.evidence, new RegExp(`^host uid ${REMAPPED_FROM + uid}, .* inside ${uid},`));
    for (const name of ["namespaces", "user", "mounts", "descriptors", "seccomp"] as const)
      assert.equal(controls[name].state, "enforced", controls[name].evidence);
  });
});

function processesNaming(marker: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`\0${marker}\0`);
    } catch {
      return false; // it ended meanwhile
    }
  });
}

function makeOwned(folder: string): void {
  mkdirSync(folder);
  chownSync(folder, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
}
