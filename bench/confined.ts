// A confined call, recorded and all, against the usual ways of launching the same command. At 1 caller the calls come
// one at a time, with the pool full; at 8 they come as fast as they are answered.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { digestOf } from "../src/contract/ids.ts";
import type { IsolationClass } from "../src/contract/tier.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import { type Daemon, startDaemon, whyNoDaemon } from "../src/sandbox/drivers/docker/docker.fixture.ts";
import {
  bwrapCommand,
  finished,
  installCallgate,
  makeWorkspace,
  ociRun,
  type Place,
  srtRun,
  trusted,
} from "./peers.ts";
import { inTurn, percentile, printTable, type Row } from "./table.ts";

const ROUNDS = 100;
const SLOW_ROUNDS = 15;
const CALLERS = 8;
const CALLS_PER_CALLER = 25;
const SLOW_CALLS_PER_CALLER = 4;
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

function target(what: string, is: number, atMost: number): void {
  console.log(
    `target: ${what} <= ${atMost.toFixed(2)} ms; is ${is.toFixed(2)} ms: ${is <= atMost ? "met" : "MISSED"}`,
  );
}

async function main(place: Place): Promise<void> {
  await using disposal = new AsyncDisposableStack();
  const open = async (name: string, configuration?: string): Promise<Gate> => {
    const own = makeWorkspace(join(place.base, name));
    const state = join(place.base, `state-${name}`);
    if (configuration !== undefined) trusted(own.workspace, state, configuration);
    return disposal.use(await openGate({ workingDirectory: own.workspace, state }));
  };
  const quick = await quickOnes(place, open);
  const rows = await inTurn(quick.things, ROUNDS, () => stocked(quick.pooled));
  printTable("1 caller, with the pool full", rows);
  const slow = await slowOnes(place, open, disposal);
  const working = await thoseThatWork(slow.things);
  const slowRows = await inTurn(working, SLOW_ROUNDS, () => stocked(slow.pooled));
  printTable("1 caller, the slower ones", slowRows);
  const crowd: (Row & { perSecond: number })[] = [];
  for (const [name, thing] of Object.entries(quick.things))
    crowd.push(await together(name, thing, CALLS_PER_CALLER));
  for (const [name, thing] of Object.entries(working))
    crowd.push(await together(name, thing, SLOW_CALLS_PER_CALLER));
  printTable(`${CALLERS} callers, without a pause`, crowd);
  for (const { name, perSecond } of crowd) console.log(`${name}: ${perSecond.toFixed(0)} a second`);
  targets([...rows, ...slowRows]);
}

type Open = (name: string, configuration?: string) => Promise<Gate>;

/** A gate each, so that one's pool is not emptied by the other's calls. */
async function quickOnes(place: Place, open: Open): Promise<{ things: Record<string, Thing>; pooled: Gate }> {
  const [cold, pooled, log] = [await open("cold"), await open("pooled"), await open("log")];
  const fact = { record: { kind: "policy", digest: digestOf("bench"), summary: "bench" } } as const;
  const things = {
    "plain spawn": () => finished("/usr/bin/true", []),
    "bare bwrap": bwrapCommand(place),
    "gate, bubblewrap, cold": calls(cold, "process").cold,
    "gate, bubblewrap, from the pool": calls(pooled, "process").pooled,
    "one commit": () => log.log.append([fact]),
  };
  return { things, pooled };
}

async function slowOnes(
  place: Place,
  open: Open,
  disposal: AsyncDisposableStack,
): Promise<{ things: Record<string, Thing>; pooled: Gate }> {
  const things: Record<string, Thing> = {};
  const add = (name: string, thing: Thing | undefined): void => {
    if (thing !== undefined) things[name] = thing;
  };
  for (const runtime of ["runc", "runsc"] as const) add(`${runtime} run`, ociRun(runtime, place));
  const pooled = await open("gvisor");
  add("gate, runsc, cold", calls(await open("gvisor-cold"), "gvisor").cold);
  add("gate, runsc, from the pool", calls(pooled, "gvisor").pooled);
  const missing = whyNoDaemon();
  if (missing === undefined) {
    const daemon = disposal.use(await startDaemon());
    const settings = `version: 1\nsandbox: { docker: { socket: ${daemon.socket}, image: "${daemon.image}" } }\n`;
    add("docker run", dockerRun(daemon));
    add("gate, Docker, cold", calls(await open("docker-cold", settings), "container").cold);
    add("gate, Docker, from the pool", calls(await open("docker", settings), "container").pooled);
  } else console.error(`Docker is left out: ${missing}`);
  const bin = installCallgate(place);
  const state = ["--state", join(place.base, "state-exec")];
  add("srt -- true", srtRun(place));
  add("callgate exec -- true", () =>
    finished(process.execPath, [bin, ...state, "exec", "--", "true"], { cwd: place.workspace }),
  );
  add("node -e 0", () => finished(process.execPath, ["-e", "0"]));
  return { things, pooled };
}

/** Debian's client, with as few of its own namespaces as the driver asks for. */
function dockerRun({ socket, image }: Daemon): Thing {
  const flags = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65533"];
  return () => finished("/usr/bin/docker", ["--host", `unix://${socket}`, ...flags, image, "true"]);
}

function targets(rows: readonly Row[]): void {
  const of = (name: string): number => percentile(rows.find((row) => row.name === name)?.samples ?? [], 0.5);
  console.log();
  target("from the pool, half of bare bwrap", of("gate, bubblewrap, from the pool"), of("bare bwrap") / 2);
  target(
    "cold, 1.25 bare bwrap and two commits",
    of("gate, bubblewrap, cold"),
    1.25 * of("bare bwrap") + 2 * of("one commit"),
  );
  target("exec, a third of srt", of("callgate exec -- true"), of("srt -- true") / 3);
  target("runsc from the pool, a fifth of runsc run", of("gate, runsc, from the pool"), of("runsc run") / 5);
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
