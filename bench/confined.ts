// A confined call, recorded and all, against the usual ways of launching the same command. At 1 caller the calls come
// one at a time, with the pool full; at 8 they come as fast as they are answered.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ExecInput } from "../src/catalog/exec-input.ts";
import type { IsolationClass } from "../src/contract/tier.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import {
  bwrapCommand,
  finished,
  installCallgate,
  makeWorkspace,
  ociRun,
  type Place,
  srtRun,
} from "./peers.ts";
import { inTurn, percentile, printTable, type Row } from "./table.ts";

const ROUNDS = 100;
const SLOW_ROUNDS = 15;
const CALLERS = 8;
const CALLS_PER_CALLER = 25;
/** Between two samples, so that what one leaves behind does not fall on the next. */
const PAUSE_MS = 15;
const STOCK_MS_MAX = 2_000;

type Thing = () => Promise<unknown>;

/** Calls through a gate; every `serial` differs in a limit, so that none finds a sandbox that was built ahead. */
function calls(gate: Gate, isolation: IsolationClass): { readonly cold: Thing; readonly pooled: Thing } {
  let serial = 0;
  const call = async (input: ExecInput): Promise<void> => {
    const { outcome, error } = await gate.call({ tool: "callgate.exec", input });
    if (outcome !== "exited") throw new Error(error?.message ?? outcome);
  };
  return {
    cold: () => {
      serial += 1;
      return call(new ExecInput({ command: ["true"], isolation, limits: { wallMs: 30_000 + serial } }));
    },
    pooled: () => call(new ExecInput({ command: ["true"], isolation })),
  };
}

async function stocked(gate: Gate): Promise<void> {
  const until = performance.now() + STOCK_MS_MAX;
  const isReady = (): boolean =>
    (gate.metrics().pool?.waiting ?? 0) > 0 && gate.metrics().pool?.building === 0;
  while (!isReady() && performance.now() < until) await sleep(1);
  await sleep(PAUSE_MS);
}

/** Each caller calls again as soon as it is answered. */
async function together(name: string, thing: Thing, perCaller: number): Promise<Row & { perSecond: number }> {
  const samples: number[] = [];
  for (let i = 0; i < CALLERS; i += 1) await thing();
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let i = 0; i < perCaller; i += 1) {
        const started = performance.now();
        await thing();
        samples.push(performance.now() - started);
      }
    }),
  );
  return { name, samples, perSecond: (samples.length * 1000) / (performance.now() - begun) };
}

function median(rows: readonly Row[], name: string): number {
  return percentile(rows.find((row) => row.name === name)?.samples ?? [], 0.5);
}

function target(what: string, is: number, atMost: number): void {
  console.log(
    `target: ${what} <= ${atMost.toFixed(2)} ms; is ${is.toFixed(2)} ms: ${is <= atMost ? "met" : "MISSED"}`,
  );
}

async function main(place: Place): Promise<void> {
  const gates: Gate[] = [];
  const open = async (name: string): Promise<Gate> => {
    const gate = await openGate({
      workingDirectory: place.workspace,
      state: join(place.base, `state-${name}`),
    });
    gates.push(gate);
    return gate;
  };
  // A gate each, so that one's pool is not emptied by the other's calls.
  const [cold, pooled] = [await open("cold"), await open("pooled")];
  const bwrap = bwrapCommand(place);
  const bubblewrap = { cold: calls(cold, "process").cold, pooled: calls(pooled, "process").pooled };
  const quick: Record<string, Thing> = {
    "plain spawn": () => finished("/usr/bin/true", []),
    "bare bwrap": bwrap,
    "gate, bubblewrap, cold": bubblewrap.cold,
    "gate, bubblewrap, from the pool": bubblewrap.pooled,
  };
  const rows = await inTurn(quick, ROUNDS, () => stocked(pooled));
  printTable("1 caller", rows);
  const slow: Record<string, Thing> = { "bare bwrap": bwrap };
  for (const runtime of ["runc", "runsc"] as const) {
    const run = ociRun(runtime, place);
    if (run !== undefined) slow[`${runtime} run`] = run;
  }
  const srt = srtRun(place);
  if (srt !== undefined) slow["srt -- true"] = srt;
  const bin = installCallgate(place);
  slow["callgate exec -- true"] = () =>
    finished(process.execPath, [bin, "--state", join(place.base, "state-exec"), "exec", "--", "true"], {
      cwd: place.workspace,
    });
  const sandboxed = await open("gvisor");
  const gvisor = calls(sandboxed, "gvisor");
  slow["gate, runsc, from the pool"] = gvisor.pooled;
  const coldRunsc = await open("gvisor-cold");
  slow["gate, runsc, cold"] = calls(coldRunsc, "gvisor").cold;
  const container = await open("docker");
  if (process.env["CALLGATE_BENCH_DOCKER"] === "1")
    slow["gate, Docker, cold"] = calls(container, "container").cold;
  const slowRows = await inTurn(await thoseThatWork(slow), SLOW_ROUNDS, () => stocked(sandboxed));
  printTable("1 caller, the slower ones", slowRows);
  const crowd = [];
  for (const [name, thing] of Object.entries(quick))
    crowd.push(await together(name, thing, CALLS_PER_CALLER));
  for (const row of slowRows) crowd.push(await together(row.name, slow[row.name] as Thing, 4));
  printTable(`${CALLERS} callers`, crowd);
  for (const { name, perSecond } of crowd) console.log(`${name}: ${perSecond.toFixed(0)} a second`);
  console.log();
  const commits = 2 * 0.8;
  target(
    "from the pool, half of bare bwrap",
    median(rows, "gate, bubblewrap, from the pool"),
    median(rows, "bare bwrap") / 2,
  );
  target(
    "cold, 1.25 bare bwrap and two commits",
    median(rows, "gate, bubblewrap, cold"),
    1.25 * median(rows, "bare bwrap") + commits,
  );
  target(
    "exec, a third of srt",
    median(slowRows, "callgate exec -- true"),
    median(slowRows, "srt -- true") / 3,
  );
  target(
    "runsc from the pool, a fifth of runsc run",
    median(slowRows, "gate, runsc, from the pool"),
    median(slowRows, "runsc run") / 5,
  );
  for (const gate of gates) await gate[Symbol.asyncDispose]();
}

/** What cannot run here is left out, and said. */
async function thoseThatWork(things: Readonly<Record<string, Thing>>): Promise<Record<string, Thing>> {
  const working: Record<string, Thing> = {};
  for (const [name, thing] of Object.entries(things)) {
    try {
      await thing();
      working[name] = thing;
    } catch (error) {
      console.error(`${name} is left out: ${error instanceof Error ? error.message : error}`);
    }
  }
  return working;
}

const base = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(base, 0o755);
try {
  await main(makeWorkspace(base));
} finally {
  rmSync(base, { recursive: true, force: true });
}
