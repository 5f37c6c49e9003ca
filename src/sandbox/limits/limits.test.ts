import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, test } from "node:test";
import { GateError } from "../../contract/errors.ts";
import type { KilledBy } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";
import { openBench, UNCHECKED } from "../sandbox.fixture.ts";
import { readField } from "./cgroup-files.ts";
import { detectLimits, findHomes, readCgroupFacts } from "./detect.ts";
import { RlimitBackend } from "./rlimit.ts";

const MIB = 1024 * 1024;
const homes = findHomes(readCgroupFacts());
const needs = (home: object | undefined): string | false =>
  home === undefined ? "no such cgroup is writable here" : false;

/** Two processes, so that it is the tree that is held back. */
const SPIN = "my $child = fork; my $end = time + 2; 1 while time < $end; waitpid $child, 0 if $child";

describe(`limits name themselves, by ${detectLimits().name}`, () => {
  const cases: readonly [KilledBy, readonly string[], Partial<Limits>, Buffer?][] = [
    ["wall", ["sleep", "30"], { wallMs: 200 }],
    ["output", ["yes"], { outputBytes: 1000 }],
    ["input", ["cat"], { inputBytes: 10 }, Buffer.alloc(20)],
    ["cpu", ["sh", "-c", "while :; do :; done"], { cpuMs: 300 }],
    ["memory", ["perl", "-e", "my $x = 'a' x 200_000_000"], { memoryBytes: 48 * MIB }],
    ["processes", ["bash", "-c", "for i in {1..40}; do sleep 20 & done; wait"], { processes: 8 }],
  ];
  for (const [reason, argv, limits, stdin] of cases) {
    const home = reason === "memory" || reason === "processes" ? homes[reason] : {};
    test(`${reason}`, { skip: needs(home) }, async () => {
      await using bench = openBench();
      const { execution } = await bench.run(argv, {
        profile: bench.profile({}, limits),
        ...(stdin === undefined ? {} : { stdin }),
      });
      assert.ok(execution.outcome === "killed", execution.outcome);
      assert.equal(execution.killedBy, reason);
      assert.equal(execution.denials[0]?.kind, "limit");
      assert.equal(execution.denials[0]?.what, reason);
    });
  }

  test("what was used is told: memory and processor time", {
    skip: needs(homes.memory && homes.cpu),
  }, async () => {
    await using bench = openBench();
    const script = "my $x = 'a' x 30_000_000; do { 1 for 1 .. 100_000 } while times < 0.25";
    const { execution, controls } = await bench.run(["perl", "-e", script]);
    assert.ok(execution.outcome === "exited");
    assert.ok((execution.usage.cpuMs ?? 0) >= 200, `${execution.usage.cpuMs} ms`);
    // `memory.peak` came with Linux 5.19; v1 always had its own.
    assert.ok((execution.usage.memoryBytesMax ?? 0) > 30_000_000, `${execution.usage.memoryBytesMax} bytes`);
    assert.match(controls.memory.evidence, /^cgroup v[12] callgate-\d+-\d+: memory\.\S+ 536870912$/);
    assert.match(controls.processes.evidence, /: pids\.max 66$/);
  });

  test("what building a sandbox took is not the tool's", { skip: needs(homes.cpu) }, async () => {
    await using bench = openBench();
    await using group = { of: detectLimits().create(), [Symbol.asyncDispose]: () => group.of.remove() };
    group.of.limit(bench.profile({}, { cpuMs: 300 }).limits);
    /** Half a second of processor time, all of it in the group. */
    const spin = async (): Promise<void> => {
      const argv = ["-e", "<STDIN>; 1 while times < 0.5"];
      const child = spawn("perl", argv, { stdio: ["pipe", "ignore", "ignore"] });
      assert.ok(child.pid !== undefined); // 0 would be this process
      await group.of.enter(child.pid);
      child.stdin.end("\n");
      await once(child, "exit");
    };
    await spin();
    assert.equal(group.of.breached(), "cpu");
    group.of.begin();
    assert.equal(group.of.breached(), null);
    assert.ok((group.of.usage().cpuMs ?? 1e9) < 300, `${group.of.usage().cpuMs} ms`);
    await spin();
    assert.equal(group.of.breached(), "cpu");
    assert.ok((group.of.usage().cpuMs ?? 0) >= 400, `${group.of.usage().cpuMs} ms`);
  });

  test("a share of a processor holds a tool back, and is in the evidence", {
    skip: needs(homes.share),
  }, async () => {
    await using bench = openBench();
    await using sandbox = await bench.driver.open(bench.profile({}, { cpusMilli: 200 }));
    const { cpu: control } = await sandbox.inspect();
    assert.equal(control.state, "enforced");
    assert.match(control.evidence, /killed past 60000 ms; cpu\.\w+ 20000 of 100000 us$/);
    const execution = await sandbox.release(UNCHECKED, { argv: ["perl", "-e", SPIN] });
    assert.ok(execution.outcome === "exited", execution.outcome);
    const group = /callgate-\d+-\d+/.exec(control.evidence)?.[0] ?? "";
    // The kernel's own count: how much time was used depends on what else the machine does.
    const throttled = readField(join(homes.share?.folder ?? "", group, "cpu.stat"), "nr_throttled");
    assert.ok(throttled >= 3, `held back ${throttled} times`);
  });

  test("many small files are memory, and stopped by it", { skip: needs(homes.memory) }, async () => {
    await using bench = openBench();
    // bubblewrap 0.8 bounds a tmpfs in bytes, not in inodes; the kernel charges each inode to the group.
    const script = `for (1 .. 2_000_000) { open my $f, ">", "/tmp/$_" or die $! }`;
    const { execution } = await bench.run(["perl", "-e", script], {
      profile: bench.profile({}, { memoryBytes: 24 * MIB, scratchBytes: MIB, wallMs: 120_000 }),
    });
    assert.equal(execution.outcome === "killed" && execution.killedBy, "memory");
  });

  test("a tool that exits as if a signal had ended it, exited", { skip: needs(homes.cpu) }, async () => {
    await using bench = openBench();
    const { execution } = await bench.run(["sh", "-c", "exit 152"]);
    assert.ok(execution.outcome === "exited", JSON.stringify(execution));
    assert.equal(execution.exitCode, 152);
  });

  test("truncated output keeps the first bytes and counts the rest", async () => {
    await using bench = openBench();
    const { execution } = await bench.run(["yes"], { profile: bench.profile({}, { outputBytes: 1000 }) });
    assert.ok(execution.outcome === "killed");
    assert.equal(execution.stdout.length, 1000);
    assert.ok(execution.stdoutBytes > 1000);
  });

  test("a file that grows too large ends its writer, and the limit is named", async () => {
    await using bench = openBench();
    const argv = ["dd", "if=/dev/zero", "of=/tmp/big", "bs=64k", "count=32"];
    const { execution } = await bench.run(argv, { profile: bench.profile({}, { fileSizeBytes: MIB }) });
    assert.ok(execution.outcome === "exited");
    assert.equal(execution.signal, "SIGXFSZ");
    assert.deepEqual(execution.denials, [
      { kind: "limit", what: "fileSize", why: "wrote a file of more than 1048576 bytes" },
    ]);
  });

  test("a full scratch disk and too many open files are errors that the tool sees", async () => {
    await using bench = openBench();
    const profile = bench.profile({}, { openFiles: 16, scratchBytes: 4 * MIB });
    for (const place of ["/tmp", "/dev/shm", "$HOME"]) {
      const { stderr } = await bench.run(["sh", "-c", `head -c 5000000 /dev/zero > ${place}/big`], {
        profile,
      });
      assert.match(stderr, /No space left on device/, place);
    }
    const script = `my @f; while (@f < 100) { open $f[@f], "<", "/dev/null" or die scalar(@f), " $!" }`;
    const { stderr, execution } = await bench.run(["perl", "-e", script], { profile });
    assert.match(stderr, /^\d+ Too many open files/);
    assert.equal(execution.outcome, "exited");
  });
});

describe("where there is no cgroup", () => {
  test("rlimits bound memory and processes, and the evidence says that they are weaker", async () => {
    await using bench = openBench(new RlimitBackend());
    const profile = bench.profile({}, { memoryBytes: 64 * MIB });
    const { controls, stdout } = await bench.run(["bash", "-c", "ulimit -d; ulimit -u"], { profile });
    assert.match(controls.memory.evidence, /weaker than a cgroup/);
    assert.equal(controls.memory.state, "enforced");
    assert.deepEqual(stdout.trim().split("\n"), ["65536", "66"]);
  });

  test("a share of the processors is bounded by nothing, and the evidence says so", async () => {
    await using bench = openBench(new RlimitBackend());
    const { controls } = await bench.run(["true"]);
    assert.equal(controls.cpu.state, "unavailable");
    assert.match(
      controls.cpu.evidence,
      /^rlimit max cpu time 61 per process.*; share unavailable: no cgroup$/,
    );
  });

  test("processor time of a process is bounded, and named", async () => {
    await using bench = openBench(new RlimitBackend());
    const { execution } = await bench.run(["perl", "-e", "1 while 1"], {
      profile: bench.profile({}, { cpuMs: 1000 }),
    });
    assert.equal(execution.outcome === "killed" && execution.killedBy, "cpu");
  });

  test("a tier that needs a cgroup is refused", async () => {
    await using bench = openBench(new RlimitBackend());
    const profile = bench.profile({ treeLimits: true });
    await assert.rejects(
      bench.driver.open(profile),
      (error) =>
        error instanceof GateError && error.code === "ERR_CONTROL_UNAVAILABLE" && error.remedy !== undefined,
    );
  });
});
