import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AuditLog, openLog } from "../src/audit/log.ts";
import { verifyLog } from "../src/audit/verify.ts";
import type { Controls } from "../src/contract/execution.ts";
import { digestOf, newCallId, parseToolName } from "../src/contract/ids.ts";
import type { IntentRecord, OpenedRecord, OutcomeRecord } from "../src/contract/record.ts";
import { CONTROLS } from "../src/contract/tier.ts";

/** The record's speed: `node bench/log.ts [SECONDS]`. Every figure is of durable, signed, proved entries. */

const SECONDS = Number(process.argv[2] ?? 3);
const CALLERS = [1, 32, 128] as const;
const TOOL = parseToolName("repo.search");
const DIGEST = digestOf("bench");
const INPUT: Uint8Array = Buffer.from(JSON.stringify({ pattern: "TODO", path: "src" }));
const STDOUT: Uint8Array = Buffer.alloc(400, "a line of output\n");
const CONTROLS_SEEN = Object.fromEntries(
  CONTROLS.map((name) => [
    name,
    { state: "enforced", basis: "verified", evidence: `${name} was read from /proc` },
  ]),
) as Controls;

function intent(call: IntentRecord["call"]): IntentRecord {
  return {
    kind: "intent",
    call,
    tool: { name: TOOL, digest: DIGEST, tier: "low" },
    caller: { kind: "Job", id: "ci/build", proof: "oidc", claims: { repository: "acme/site", ref: "main" } },
    context: { environment: { name: "ci", protected: false }, repository: "acme/site", depth: 0 },
    decision: { effect: "permit", policies: ["analysis"], reasons: ["analysis tools"], policyDigest: DIGEST },
    requestDigest: DIGEST,
    capability: "session-1",
  };
}

function opened(call: IntentRecord["call"]): OpenedRecord {
  const rest = {
    driver: "bubblewrap",
    isolation: "process",
    profileDigest: DIGEST,
    controls: CONTROLS_SEEN,
    waitedMs: 0,
  } as const;
  return { kind: "opened", call, ...rest };
}

function outcome(call: IntentRecord["call"]): OutcomeRecord {
  return {
    kind: "outcome",
    call,
    tool: TOOL,
    outcome: "exited",
    exitCode: 0,
    signal: null,
    killedBy: null,
    error: null,
    startedMs: Date.now(),
    endedMs: Date.now(),
    usage: { wallMs: 12.345, cpuMs: 4.1, memoryBytesMax: 9_437_184 },
    denials: [],
  };
}

/** One call as the gate records it; the milliseconds each of its two commits took. */
async function oneCall(log: AuditLog, withEvidence: boolean): Promise<readonly [number, number]> {
  const call = newCallId();
  const began = performance.now();
  const before = { record: intent(call), payloads: { input: INPUT } };
  await log.append(withEvidence ? [before, { record: opened(call) }] : [before]);
  const middle = performance.now();
  await log.append([{ record: outcome(call), payloads: { stdout: STDOUT } }], { receipts: true });
  return [middle - began, performance.now() - middle];
}

function quantile(sorted: readonly number[], share: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(2);
}

async function measure(callers: number, withEvidence: boolean): Promise<Record<string, string | number>> {
  const stateDir = mkdtempSync(join(tmpdir(), "callgate-bench-"));
  const commits: number[] = [];
  let calls = 0;
  const log = await openLog({ stateDir, mode: "worker" });
  const loop = async (until: number, count: boolean): Promise<void> => {
    while (performance.now() < until) {
      const latencies = await oneCall(log, withEvidence);
      if (count) {
        calls++;
        commits.push(...latencies);
      }
    }
  };
  const everyone = (seconds: number, count: boolean): Promise<unknown> =>
    Promise.all(Array.from({ length: callers }, () => loop(performance.now() + seconds * 1000, count)));
  await everyone(0.5, false);
  const began = performance.now();
  await everyone(SECONDS, true);
  const seconds = (performance.now() - began) / 1000;
  await log.close();
  const verifyBegan = performance.now();
  const { size, problems } = verifyLog(stateDir, log.verifierKey);
  const verifySeconds = (performance.now() - verifyBegan) / 1000;
  if (problems.length > 0) throw new Error(`the log does not verify: ${problems[0]?.message}`);
  rmSync(stateDir, { recursive: true });
  commits.sort((a, b) => a - b);
  return {
    callers,
    entries: withEvidence ? "intent+opened, outcome" : "intent, outcome",
    "calls/s": Math.round(calls / seconds),
    "entries/s": Math.round((calls * (withEvidence ? 3 : 2)) / seconds),
    "commit p50 ms": quantile(commits, 0.5),
    "commit p95 ms": quantile(commits, 0.95),
    "verified entries/s": Math.round(size / verifySeconds),
  };
}

const rows: Record<string, string | number>[] = [];
for (const withEvidence of [false, true]) {
  for (const callers of CALLERS) rows.push(await measure(callers, withEvidence));
}
console.table(rows);
