import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { GateError } from "../../contract/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../contract/profile.ts";
import { openBench } from "../sandbox.fixture.ts";
import { Watch } from "../watch.ts";
import type { LimitGroup } from "./backend.ts";
import { CgroupBackend } from "./cgroup.ts";
import type { ControllerHomes } from "./cgroup-group.ts";
import { detectLimits, findHomes, readCgroupFacts } from "./detect.ts";

const base = mkdtempSync(join(tmpdir(), "callgate-fake-cgroup-"));
after(() => rmSync(base, { recursive: true }));
const LIMITS: Limits = { ...DEFAULT_LIMITS, cpusMilli: 500 };

interface Fake {
  readonly folder: string;
  readonly backend: CgroupBackend;
  readonly group: LimitGroup;
  /** Where the one group lies. */
  readonly path: string;
}

/** A group in an ordinary folder: what is read is what the test wrote there, as no kernel at hand would. */
function fake(version: 1 | 2, without: readonly (keyof ControllerHomes)[] = []): Fake {
  const folder = mkdtempSync(join(base, "home-"));
  const home = { version, folder };
  const all: ControllerHomes = { memory: home, processes: home, cpu: home, share: home };
  const homes = Object.fromEntries(
    Object.entries(all).filter(([name]) => !without.includes(name as keyof ControllerHomes)),
  );
  const backend = new CgroupBackend(homes);
  const group = backend.create();
  return { folder, backend, group, path: join(folder, readdirSync(folder)[0] ?? "") };
}

function tell(path: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
}

const QUIET_V2 = {
  "memory.events": "oom 0\noom_kill 0\n",
  "pids.events": "max 0\n",
  "cpu.stat": "usage_usec 1000\nnr_throttled 0\n",
};

describe("what is written", () => {
  test("v2", async () => {
    const { group, path } = fake(2);
    group.limit(LIMITS);
    await group.enter(4242);
    const read = (name: string): string => readFileSync(join(path, name), "utf8");
    assert.equal(read("memory.max"), String(LIMITS.memoryBytes));
    assert.equal(read("pids.max"), "66");
    assert.equal(read("cpu.max"), "50000 100000");
    assert.equal(read("cgroup.procs"), "4242");
    assert.equal(group.holds(4242), true);
    assert.equal(group.holds(424), false);
    const { memory, processes, cpu } = group.evidence(4242);
    assert.deepEqual([memory.state, processes.state, cpu.state], ["enforced", "enforced", "enforced"]);
    assert.match(cpu.evidence, /cpu\.max 50000 of 100000 us$/);
  });

  test("v1", () => {
    const { group, path } = fake(1);
    group.limit(LIMITS);
    assert.equal(readFileSync(join(path, "cpu.cfs_quota_us"), "utf8"), "50000");
    assert.equal(readFileSync(join(path, "cpu.cfs_period_us"), "utf8"), "100000");
    assert.equal(readFileSync(join(path, "memory.limit_in_bytes"), "utf8"), String(LIMITS.memoryBytes));
  });

  test("before the limits are known, nothing is claimed", async () => {
    const { group } = fake(2);
    await group.enter(4242);
    for (const control of Object.values(group.evidence(4242))) assert.equal(control.state, "unavailable");
  });
});

describe("what the kernel says instead", () => {
  const changes: readonly [string, keyof ReturnType<LimitGroup["evidence"]>, Record<string, string>][] = [
    ["a memory limit that was lifted", "memory", { "memory.max": "max" }],
    ["a process limit that was raised", "processes", { "pids.max": "1000" }],
    ["a quota that was lifted", "cpu", { "cpu.max": "max 100000" }],
    ["a quota that was raised", "cpu", { "cpu.max": "60000 100000" }],
    ["a sandbox that was moved out", "memory", { "cgroup.procs": "1\n" }],
    ["a sandbox that was moved out, its time", "cpu", { "cgroup.procs": "14242\n" }],
  ];
  for (const [what, name, files] of changes) {
    test(`${what} is not enforced`, async () => {
      const { group, path } = fake(2);
      group.limit(LIMITS);
      await group.enter(4242);
      assert.equal(group.evidence(4242)[name].state, "enforced");
      tell(path, files);
      assert.equal(group.evidence(4242)[name].state, "unavailable");
    });
  }

  test("a host that counts time but cannot share it out does not enforce cpu", async () => {
    const { group } = fake(1, ["share"]);
    group.limit(LIMITS);
    await group.enter(4242);
    assert.equal(group.enforces.has("cpu"), false);
    const { cpu, memory } = group.evidence(4242);
    assert.equal(cpu.state, "unavailable");
    assert.match(cpu.evidence, /killed past 60000 ms; share unavailable: no cpu controller is writable/);
    assert.equal(memory.state, "enforced");
  });

  test("no `memory.peak` before Linux 5.19: the usage is unknown, and nothing else changes", () => {
    const { group, path } = fake(2);
    group.limit(LIMITS);
    tell(path, QUIET_V2);
    assert.deepEqual(group.usage(), { cpuMs: 1, memoryBytesMax: null });
    tell(path, { "memory.peak": "8192\n" });
    assert.deepEqual(group.usage(), { cpuMs: 1, memoryBytesMax: 8192 });
    assert.equal(group.breached(), null);
  });
});

describe("a share inside a tighter one", () => {
  const home = findHomes(readCgroupFacts()).share;
  test("is what the tighter one leaves", {
    skip: home === undefined ? "no cgroup is writable here" : false,
  }, async () => {
    assert.ok(home !== undefined);
    const parent = join(home.folder, `callgate-${process.pid}-0-tight`);
    mkdirSync(parent);
    try {
      if (home.version === 1) tell(parent, { "cpu.cfs_quota_us": "50000" });
      else tell(parent, { "cpu.max": "50000 100000", "cgroup.subtree_control": "+cpu" });
      const group = new CgroupBackend({ share: { version: home.version, folder: parent } }).create();
      group.limit({ ...LIMITS, cpusMilli: 2000 });
      const [name = ""] = readdirSync(parent).filter((entry) => entry.startsWith("callgate-"));
      const file = join(parent, name, home.version === 1 ? "cpu.cfs_quota_us" : "cpu.max");
      // v1 takes no more than the parent has; v2 takes it, and the parent's holds nevertheless.
      assert.equal(readFileSync(file, "utf8"), home.version === 1 ? "50000\n" : "200000 100000\n");
      await group.remove();
    } finally {
      rmdirSync(parent);
    }
  });
});

describe("a limit that cannot be written", () => {
  for (const [version, file] of [
    [2, "memory.max"],
    [2, "pids.max"],
    [2, "cpu.max"],
    [1, "memory.limit_in_bytes"],
    [1, "cpu.cfs_quota_us"],
  ] as const) {
    test(`${file} of v${version} is refused by name`, () => {
      const { group, path } = fake(version);
      mkdirSync(join(path, file)); // EISDIR: no user may write it, root neither
      assert.throws(
        () => group.limit(LIMITS),
        (error) =>
          error instanceof GateError &&
          error.code === "ERR_CONTROL_UNAVAILABLE" &&
          error.message.includes(file),
      );
    });
  }

  test("a call stops before anything is built, and leaves no group", async () => {
    const { backend, folder, group } = fake(2);
    await group.remove();
    const create = backend.create.bind(backend);
    backend.create = () => {
      const made = create();
      const name = readdirSync(folder)[0] ?? "";
      mkdirSync(join(folder, name, "pids.max"));
      return { ...bound(made), remove: async () => rmSync(join(folder, name), { recursive: true }) };
    };
    await using bench = openBench(backend);
    await assert.rejects(bench.driver.open(bench.profile()), { code: "ERR_CONTROL_UNAVAILABLE" });
    await bench.driver[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(folder), []);
  });

  test("a group that cannot be made is refused", () => {
    const { backend, folder } = fake(2);
    rmSync(folder, { recursive: true });
    assert.throws(() => backend.create(), { code: "ERR_CONTROL_UNAVAILABLE" });
  });
});

describe("a group that vanishes mid-run", () => {
  test("ends the call, and the usage is unknown rather than an error", async () => {
    const { group, path } = fake(2);
    group.limit(LIMITS);
    tell(path, QUIET_V2);
    const killed = Promise.withResolvers<void>();
    using watch = new Watch(LIMITS, group, () => killed.resolve());
    assert.equal(watch.reason(), null);
    rmSync(path, { recursive: true });
    await killed.promise;
    assert.equal(watch.reason(), "abort");
    assert.deepEqual(group.usage(), { cpuMs: null, memoryBytesMax: null });
    assert.equal(group.evidence(4242).memory.state, "unavailable");
    await group.remove();
  });

  test("so does one that vanished in the last moment", () => {
    const { group, path } = fake(2);
    group.limit(LIMITS);
    using watch = new Watch(LIMITS, group, () => {});
    rmSync(path, { recursive: true });
    assert.equal(watch.reason(), "abort");
  });
});

describe("groups of a gateway that was killed", () => {
  test("are removed at the next start, and only those", async () => {
    const gone = spawn("true");
    await once(gone, "exit");
    const folder = mkdtempSync(join(base, "orphans-"));
    const kept = [`callgate-${process.pid}-1`, "callgate-1-1", "other", "callgate-x-1"];
    for (const name of [...kept, `callgate-${gone.pid}-7`]) mkdirSync(join(folder, name));
    new CgroupBackend({ memory: { version: 2, folder } });
    assert.deepEqual(readdirSync(folder).sort(), kept.sort());
  });

  const homes = findHomes(readCgroupFacts());
  test("in the kernel too", {
    skip: homes.memory === undefined ? "no cgroup is writable here" : false,
  }, async () => {
    const script = `
      const { detectLimits } = await import(${JSON.stringify(new URL("./detect.ts", import.meta.url).href)});
      detectLimits().create();
      process.kill(process.pid, "SIGKILL");`;
    const gateway = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
    await once(gateway, "exit");
    const left = (): string[] =>
      Object.values(homes).flatMap(({ folder }) =>
        readdirSync(folder).filter((name) => name.startsWith(`callgate-${gateway.pid}-`)),
      );
    assert.ok(left().length > 0, "the killed gateway left nothing to remove");
    detectLimits();
    assert.deepEqual(left(), []);
  });

  test("a call leaves none", {
    skip: homes.memory === undefined ? "no cgroup is writable here" : false,
  }, async () => {
    const left = (): string[] =>
      Object.values(homes).flatMap(({ folder }) =>
        readdirSync(folder).filter((name) => name.startsWith(`callgate-${process.pid}-`)),
      );
    {
      await using bench = openBench();
      await using sandbox = await bench.driver.open(bench.profile());
      assert.ok(left().length > 0);
      await sandbox.inspect();
    }
    assert.deepEqual(left(), []);
  });
});

/** A group whose methods keep their own state, to be laid over. */
function bound(group: LimitGroup): LimitGroup {
  return {
    enforces: group.enforces,
    limit: (limits) => group.limit(limits),
    enter: (pid) => group.enter(pid),
    holds: (pid) => group.holds(pid),
    evidence: (pid) => group.evidence(pid),
    begin: () => group.begin(),
    breached: () => group.breached(),
    usage: () => group.usage(),
    remove: () => group.remove(),
  };
}
