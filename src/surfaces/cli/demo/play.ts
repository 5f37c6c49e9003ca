import { GateError } from "../../../contract/errors.ts";
import type { Gate } from "../../../gate.ts";
import { openGateOn } from "../../../open-gate.ts";
import { confinedSteps, listen } from "./confined.ts";
import { historyStep, judgedSteps, policyTests } from "./judged.ts";
import { type Evidence, provenSteps, type RecordedCall } from "./proven.ts";
import type { Screen } from "./screen.ts";
import type { Stage } from "./stage.ts";
import { type Called, type CallStep, callStep, type Finding, Interrupted } from "./step.ts";

/** The call whose record is lied about: it failed, and one digit would say that it did not. */
const LIED_ABOUT = "write-workspace";

export interface Act {
  readonly stage: Stage;
  /** Undefined: nothing is printed. */
  readonly screen: Screen | undefined;
  readonly signal: AbortSignal;
}

/**
 * Plays every step, through a gate as any program would have it, and gives what became of each.
 * @throws Interrupted when the signal is given; GateError where no sandbox can be built or the state is at fault.
 */
export async function play(act: Act): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const evidence = await callAll(act, findings);
  act.screen?.heading("Proven", "what happened, for somebody who trusts none of us");
  for (const step of provenSteps(act.stage, evidence)) {
    if (act.signal.aborted) throw new Interrupted();
    show(act, findings, step());
  }
  return findings;
}

/** Makes every call. The gate is closed afterwards: what is proven is proven from its files. */
async function callAll(act: Act, findings: Finding[]): Promise<Evidence> {
  const { stage, screen } = act;
  screen?.begin("copying the example and opening a gate");
  const loaded = await stage.load();
  await using gate = await openGateOn(loaded, "worker");
  screen?.heading("Judged", "is this action allowed?");
  await callEach(act, gate, findings, [historyStep(stage.workspace), ...judgedSteps(stage.workspace)]);
  screen?.begin("policy test");
  show(act, findings, await policyTests(loaded));
  screen?.heading("Confined", "permitted, and still not able to");
  await using listener = await listen();
  const called = await callEach(act, gate, findings, confinedSteps(stage, listener));
  const lied = called.find(({ finding }) => finding.id === LIED_ABOUT);
  const exitCode = lied?.finding.call?.exitCode;
  if (lied?.receipt == null || exitCode == null) {
    throw new GateError("ERR_INTERNAL", `the call \`${LIED_ABOUT}\` left no receipt of an exit`);
  }
  const recorded = await recordedCalls(gate, findings);
  return { key: gate.log.verifierKey, receipt: lied.receipt, exitCode, recorded };
}

async function recordedCalls(gate: Gate, findings: readonly Finding[]): Promise<readonly RecordedCall[]> {
  const calls = findings.flatMap(({ call }) => (call === undefined ? [] : [call]));
  return await Promise.all(
    calls.map(async (call) => ({ call, entries: (await gate.log.entriesOfCall(call.id)).length })),
  );
}

async function callEach(
  act: Act,
  gate: Gate,
  findings: Finding[],
  steps: readonly CallStep[],
): Promise<readonly Called[]> {
  const called: Called[] = [];
  for (const step of steps) {
    act.screen?.begin(`${step.request.tool}  ${step.asked}`);
    const one = await callStep(gate, step, act.signal);
    show(act, findings, one.finding);
    called.push(one);
  }
  return called;
}

function show({ screen }: Act, findings: Finding[], finding: Finding): void {
  screen?.finding(finding);
  findings.push(finding);
}
