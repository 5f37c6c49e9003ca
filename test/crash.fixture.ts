import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openLog } from "../src/audit/log.ts";
import { verifyLog } from "../src/audit/verify.ts";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { parseCallId } from "../src/contract/ids.ts";
import { createProject, type TestProject } from "./project.fixture.ts";

/** What was seen over all kills. */
export interface CrashTotals {
  kills: number;
  returned: number;
  ran: number;
  recovered: number;
  entries: number;
}

const GATEWAY = fileURLToPath(new URL("./crash-gateway.fixture.ts", import.meta.url));
const CALLERS = 4;
/** A kill falls after a random number of results, up to this, and then within a random few milliseconds. */
const RESULTS_BEFORE_KILL_MAX = 10;
const KILL_WITHIN_MS = 40;
const ORPHAN_MS_MAX = 3_000;

/**
 * Kills a gateway with SIGKILL at random moments under load, restarts it, and holds what is on the disk against what
 * was returned and what ran. Every assertion is about all kills so far, since they share one state folder.
 */
export async function crash(kills: number, onKill?: (totals: CrashTotals) => void): Promise<CrashTotals> {
  using project = createProject({});
  mkdirSync(join(project.workspace, "marks"), { mode: 0o777 });
  project.write("marks/keep", "");
  const totals: CrashTotals = { kills: 0, returned: 0, ran: 0, recovered: 0, entries: 0 };
  const intents = new Set<string>();
  const seenMarks = new Set<string>();
  for (let kill = 0; kill < kills; kill += 1) {
    const returned = await killOnce(project, `k${kill}`);
    await assertNoOrphans(`marks/k${kill}-`);
    totals.kills += 1;
    totals.returned += returned.length;
    await inspect(project, returned, intents, seenMarks, totals);
    onKill?.(totals);
  }
  return totals;
}

async function killOnce(project: TestProject, prefix: string): Promise<readonly string[]> {
  const args = [
    "--disable-warning=ExperimentalWarning",
    GATEWAY,
    project.workspace,
    project.state,
    prefix,
    `${CALLERS}`,
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk));
  const results = Math.floor(Math.random() * RESULTS_BEFORE_KILL_MAX);
  await readyOrDead(child, () => text.split("\n").length > 1 + results);
  await sleep(Math.random() * KILL_WITHIN_MS);
  child.kill("SIGKILL");
  await once(child, "close");
  // The last line may have been cut by the kill: only whole lines were returned.
  return text
    .split("\n")
    .slice(1, -1)
    .filter((line) => line !== "");
}

async function readyOrDead(child: ChildProcess, ready: () => boolean): Promise<void> {
  while (!ready()) {
    assert.equal(child.exitCode, null, "the gateway ended by itself");
    await sleep(2);
  }
}

async function inspect(
  project: TestProject,
  returned: readonly string[],
  intents: Set<string>,
  seenMarks: Set<string>,
  totals: CrashTotals,
): Promise<void> {
  await using log = await openLog({ stateDir: project.state, mode: "inline" });
  totals.recovered += (await log.recover()).length;
  for (const line of returned) {
    const [outcome, call] = line.split(" ");
    const entries = await log.entriesOfCall(parseCallId(call ?? ""));
    assert.ok(
      entries.some(({ entry }) => entry["kind"] === "outcome" && entry["outcome"] === outcome),
      `${line} has no outcome in the log`,
    );
  }
  for (let from = totals.entries; ; ) {
    const entries = await log.scan({ from });
    if (entries.length === 0) break;
    for (const { index, entry } of entries)
      if (entry["kind"] === "intent") intents.add(await saltedInput(log, index));
    from += entries.length;
  }
  totals.entries = await log.size();
  for (const mark of readdirSync(join(project.workspace, "marks"))) {
    if (mark === "keep" || seenMarks.has(mark)) continue;
    seenMarks.add(mark);
    totals.ran += 1;
    assert.ok(hasIntent(project, mark, intents), `${mark} ran without an intent in the log`);
  }
  const verified = verifyLog(project.state, log.verifierKey);
  assert.deepEqual(verified.problems, []);
  assert.equal(verified.size, totals.entries);
}

/** `salt commitment` of an intent's input: the input itself is not kept, and can still be recognised. */
async function saltedInput(log: Awaited<ReturnType<typeof openLog>>, index: number): Promise<string> {
  const payload = await log.payload(index, "input");
  assert.ok(payload, `intent ${index} commits to no input`);
  return `${Buffer.from(payload.salt).toString("hex")} ${payload.commitment}`;
}

function hasIntent({ workspace }: TestProject, mark: string, intents: Set<string>): boolean {
  const call = Number(mark.split("-")[2]);
  const command = ["sh", "-c", `echo > marks/${mark}; exec sleep 0.0${(call * 7) % 10}`, mark];
  const input = JSON.stringify(new ExecInput({ command, write: [`${workspace}/marks`] }).value);
  for (const intent of intents) {
    const [salt = "", commitment] = intent.split(" ");
    const hash = createHash("sha256").update(Buffer.from(salt, "hex")).update(input).digest("hex");
    if (commitment === `sha256:${hash}`) {
      intents.delete(intent);
      return true;
    }
  }
  return false;
}

async function assertNoOrphans(token: string): Promise<void> {
  const deadline = Date.now() + ORPHAN_MS_MAX;
  let left = commandLines(token);
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(10);
    left = commandLines(token);
  }
  assert.deepEqual(left, [], "a tool outlived its gateway");
}

/** Command lines of processes that hold `token`. A launcher that waits has no tool in it, and must go too. */
function commandLines(token: string): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return line.includes(token) ? [`${pid} ${line.replaceAll("\0", " ")}`] : [];
      } catch {
        return [];
      }
    });
}
