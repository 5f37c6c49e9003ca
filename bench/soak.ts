// Calls without a pause at 8 callers; what the gateway holds afterwards is held against what it held before.
// `npm run bench -- soak`: five minutes; SOAK_SECONDS sets another length.
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ExecInput } from "../src/catalog/exec-input.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import { readChildren } from "../src/sandbox/procfs.ts";
import { makeWorkspace, trusted } from "./peers.ts";
import { percentile } from "./table.ts";

const SECONDS = Number(process.env["SOAK_SECONDS"] ?? 300);
const CALLERS = 8;
const WARM_UP_MS = 10_000;
/** What is thrown away off the path of calls is gone by then. */
const SETTLE_MS = 3_000;
const CONTROLLERS = ["memory", "pids", "cpu", "cpuacct", ""];

interface Holdings {
  readonly rssMiB: number;
  readonly heapMiB: number;
  readonly descriptors: number;
  readonly processes: number;
  readonly cgroups: number;
  readonly files: number;
}

function below(pid: number): readonly number[] {
  try {
    return readChildren(pid).flatMap((child) => [child, ...below(child)]);
  } catch {
    return []; // ended meanwhile
  }
}

function countGroups(): number {
  const owned = (folder: string): number =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
          /callgate-\d+-\d+$/.test(path),
        ).length
      : 0;
  return CONTROLLERS.reduce((sum, name) => sum + owned(join("/sys/fs/cgroup", name)), 0);
}

/** With the pool as full as it gets. */
async function holdings(base: string): Promise<Holdings> {
  await sleep(SETTLE_MS);
  globalThis.gc?.();
  const MIB = 1024 * 1024;
  const { rss, heapUsed } = process.memoryUsage();
  return {
    rssMiB: Math.round(rss / MIB),
    heapMiB: Math.round(heapUsed / MIB),
    descriptors: readdirSync("/proc/self/fd").length,
    processes: below(process.pid).length,
    cgroups: countGroups(),
    // The record grows with each call; everything else may not.
    files: readdirSync(base, { recursive: true, encoding: "utf8" }).filter((path) => !path.includes("log"))
      .length,
  };
}

async function load(gate: Gate, until: () => boolean): Promise<readonly number[]> {
  const samples: number[] = [];
  const input = new ExecInput({ command: ["true"] });
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (!until()) {
        const started = performance.now();
        const { outcome, error } = await gate.call({ tool: "callgate.exec", input });
        if (outcome !== "exited") throw new Error(error?.message ?? outcome);
        samples.push(performance.now() - started);
      }
    }),
  );
  return samples;
}

function freeMiB(): number {
  return Math.round(Number(/MemAvailable:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024);
}

const base = mkdtempSync(join(tmpdir(), "callgate-soak-"));
chmodSync(base, 0o755);
try {
  const { workspace } = makeWorkspace(base);
  const state = join(base, "state");
  trusted(workspace, state, "version: 1\nsession: { uses: 1000000 }\n");
  await using gate = await openGate({ workingDirectory: workspace, state });
  const warmUntil = performance.now() + WARM_UP_MS;
  await load(gate, () => performance.now() > warmUntil);
  const before = await holdings(base);
  const freeBefore = freeMiB();
  const deadline = performance.now() + SECONDS * 1000;
  const samples = await load(gate, () => performance.now() > deadline);
  const after = await holdings(base);
  console.log(
    `\n${SECONDS} s, ${CALLERS} callers: ${samples.length} calls, ${(samples.length / SECONDS).toFixed(1)} a second`,
  );
  console.log(
    `median ${percentile(samples, 0.5).toFixed(1)} ms, p95 ${percentile(samples, 0.95).toFixed(1)} ms`,
  );
  for (const name of Object.keys(before) as (keyof Holdings)[])
    console.log(
      `${name.padEnd(12)} ${String(before[name]).padStart(6)} before ${String(after[name]).padStart(6)} after`,
    );
  console.log(`host memory free: ${freeBefore} MiB before, ${freeMiB()} MiB after`);
  console.log("pool", gate.metrics().pool);
} finally {
  rmSync(base, { recursive: true, force: true });
}
