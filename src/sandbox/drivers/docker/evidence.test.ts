import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { digestOf } from "../../../contract/ids.ts";
import { DEFAULT_LIMITS } from "../../../contract/profile.ts";
import { Dialogue } from "../../dialogue.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { detectLimits } from "../../limits/detect.ts";
import { ROOT_STANDS_BACK } from "../../user.ts";
import { readEvidence } from "./evidence.ts";
import { ContainerLimits } from "./limits.ts";

const backend = detectLimits();
const skip = backend.name === "rlimit" ? "no cgroup is writable here" : false;

/** A process that nothing confines, in a cgroup of its own without limits. */
async function inGroup(
  work: (pid: number, end: () => Promise<void>, group: LimitGroup) => Promise<void> | void,
): Promise<void> {
  const stdio = Array.from({ length: 8 }, () => "pipe" as const);
  const child: ChildProcess = spawn("sleep", ["30"], { stdio });
  const group: LimitGroup = backend.create();
  const end = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await group.remove();
  };
  try {
    const pid = child.pid ?? 0;
    await group.enter(pid);
    await work(pid, end, group);
  } finally {
    await end();
  }
}

test("of a process that nothing confines, nothing is said to be enforced", { skip }, async () => {
  await inGroup((pid) => {
    const low = { ...DEFAULT_LIMITS, memoryBytes: 1, processes: 1, cpusMilli: 1 };
    const controls = readEvidence(
      { init: pid, launcher: pid, dialogue: new Dialogue(new PassThrough()) },
      {
        user: ROOT_STANDS_BACK,
        inside: ROOT_STANDS_BACK,
        plan: { body: {}, mounts: [{ point: "/nowhere", writable: false }], absent: [] },
        seccomp: { digest: digestOf(""), canaryErrno: 1 },
        limits: new ContainerLimits(pid, low, () => false),
      },
    );
    assert.equal(controls.namespaces.evidence, "shared with the host: mnt, pid, net, ipc, uts, cgroup");
    const enforced = Object.entries(controls).filter(([, { state }]) => state === "enforced");
    assert.deepEqual(enforced, []);
  });
});

test("a reading from before the tool was let in is not the tool's", { skip }, async () => {
  await inGroup(async (pid, end) => {
    const watched = new ContainerLimits(pid, { ...DEFAULT_LIMITS, cpuMs: -1 }, () => true);
    assert.equal(watched.breached(), "cpu", "any time is more than this limit");
    watched.begin();
    assert.equal(watched.usage().cpuMs, 0);
    watched.begin();
    await end();
    assert.deepEqual([watched.breached(), watched.usage().cpuMs], [null, null]);
  });
});

test("what was killed by memory before the tool was let in stays killed", { skip }, async (t) => {
  await inGroup(async (pid, end, group) => {
    if (!group.enforces.has("memory")) return t.skip("SKIPPED: no memory cgroup is writable here");
    const watched = new ContainerLimits(pid, DEFAULT_LIMITS, () => true);
    group.limit({ ...DEFAULT_LIMITS, memoryBytes: 16 * 1024 * 1024 });
    const greedy = spawn("perl", ["-e", "<STDIN>; my $x = 'a' x 100_000_000"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    assert.ok(greedy.pid !== undefined);
    await group.enter(greedy.pid);
    greedy.stdin.end("\n");
    await once(greedy, "exit");
    assert.equal(watched.breached(), "memory");
    watched.begin();
    await end();
    assert.equal(watched.breached(), "memory");
  });
});

test("the last reading is kept when the container is gone; a live one that cannot be read is a fault", {
  skip,
}, async () => {
  await inGroup(async (pid, end) => {
    let isGone = false;
    const watched = new ContainerLimits(pid, DEFAULT_LIMITS, () => isGone);
    const settled = new ContainerLimits(pid, DEFAULT_LIMITS, () => false);
    const last = watched.usage();
    assert.ok(last.memoryBytesMax !== null && last.cpuMs !== null);
    settled.settle();
    await end();
    assert.notEqual(settled.usage().memoryBytesMax, null);
    assert.throws(() => watched.breached(), { code: "ENOENT" });
    isGone = true;
    assert.deepEqual(watched.usage(), last);
  });
});
