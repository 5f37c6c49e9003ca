import { GateError } from "../../../contract/errors.ts";
import type { CallId } from "../../../contract/ids.ts";
import type { Receipt } from "../../../contract/record.ts";
import type { CallResult } from "../../../contract/result.ts";
import type { CallRequest, Gate } from "../../../gate.ts";

/** What became of one step. `skipped`: something is missing here. `wrong`: something else than what should. */
export type Verdict =
  | "ran"
  | "refused"
  | "blocked"
  | "stopped"
  | "held"
  | "verified"
  | "found"
  | "skipped"
  | "wrong";

/** One line of the demo. */
export interface Finding {
  readonly id: string;
  /** The tool, or the command that does the same by hand. */
  readonly subject: string;
  readonly asked: string;
  readonly verdict: Verdict;
  /** The reason, or what came out. */
  readonly happened: string;
  readonly ms: number;
  readonly call?: {
    readonly id: CallId;
    readonly outcome: CallResult["outcome"];
    readonly exitCode: number | null;
    readonly killedBy: string | null;
    readonly code: string | null;
    readonly policies: readonly string[];
  };
}

/** What should become of a call, or undefined where it did not. */
type Expected = { readonly verdict: Verdict; readonly happened: string } | undefined;

/** One call and what should become of it. */
export interface CallStep {
  readonly id: string;
  readonly asked: string;
  readonly request: CallRequest;
  readonly expect: (result: CallResult) => Expected | Promise<Expected>;
  /** The package that brings the program, where a machine may lack it. */
  readonly needs?: string;
  /** What brings networks, of a step that has one. */
  readonly needsForNetwork?: string;
}

export interface Called {
  readonly finding: Finding;
  readonly receipt: Receipt | null;
}

/** Someone pressed Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Makes one call and holds what became of it against what should. */
export async function callStep(gate: Gate, step: CallStep, signal: AbortSignal): Promise<Called> {
  const { id, asked, request } = step;
  const started = performance.now();
  const result = await gate.call(request, { signal });
  const ms = elapsedMs(started);
  if (signal.aborted) throw new Interrupted();
  const line = { id, subject: request.tool, asked, ms, call: callOf(result) };
  if (step.needs !== undefined && cannotStart(result)) {
    return { finding: { ...line, verdict: "skipped", happened: step.needs }, receipt: null };
  }
  if (step.needsForNetwork !== undefined && hasNoNetwork(result)) {
    return { finding: { ...line, verdict: "skipped", happened: step.needsForNetwork }, receipt: null };
  }
  const expected = await step.expect(result);
  const became = expected ?? { verdict: "wrong" as const, happened: describe(result) };
  return { finding: { ...line, ...became }, receipt: result.receipt };
}

function callOf(result: CallResult): NonNullable<Finding["call"]> {
  const { call: id, outcome, exitCode, killedBy, error, decision } = result;
  return { id, outcome, exitCode, killedBy, code: error?.code ?? null, policies: decision.policies };
}

/** The program is not here, or lies where the sandbox's user cannot go. */
function cannotStart({ outcome, error }: CallResult): boolean {
  return (
    outcome === "unstarted" && (error?.code === "ERR_COMMAND_START" || error?.code === "ERR_SANDBOX_START")
  );
}

function hasNoNetwork({ outcome, error }: CallResult): boolean {
  return outcome === "unstarted" && error?.code === "ERR_CONTROL_UNAVAILABLE";
}

function describe({ outcome, exitCode, killedBy, error, stderr }: CallResult): string {
  const said = error?.message ?? lastLine(stderr);
  return [outcome, killedBy ?? exitCode, said].filter((part) => part !== null && part !== "").join(", ");
}

/** @throws GateError where no sandbox can be built here: then there is nothing to show. */
export function requireSandbox(result: CallResult): void {
  if (result.outcome !== "unstarted" || result.error === null) return;
  const { code, message, remedy } = result.error;
  throw new GateError(code as GateError["code"], message, {
    remedy: remedy ?? "run `callgate doctor`: it says what this host lacks",
  });
}

/** It ran, and `words` says of its result what it should be; undefined where it is something else. */
export function ran(words: (result: CallResult) => string | undefined): CallStep["expect"] {
  return (result) => {
    const happened = result.outcome === "exited" && result.error === null ? words(result) : undefined;
    return happened === undefined ? undefined : { verdict: "ran", happened };
  };
}

/** It was refused before anything ran, for this reason; by these policies where some are named. */
export function refused(code: GateError["code"], policies: readonly string[] = []): CallStep["expect"] {
  return ({ outcome, error, decision }) => {
    const isRefusal = outcome === "forbidden" || outcome === "invalid";
    const same = error?.code === code && policies.every((id) => decision.policies.includes(id));
    return isRefusal && same ? { verdict: "refused", happened: clause(error.message) } : undefined;
  };
}

/** It ran, and the sandbox did not let it: it failed, wrote nothing, and said `reason`. */
export function blocked(reason: RegExp): CallStep["expect"] {
  return ({ outcome, exitCode, stdout, stderr }) => {
    const happened = reason.exec(stderr)?.[0];
    const failed = outcome === "exited" && exitCode !== 0 && stdout === "";
    return failed && happened !== undefined ? { verdict: "blocked", happened } : undefined;
  };
}

/** It was stopped at a limit, in the gate's words. */
export function stopped(by: string): CallStep["expect"] {
  return ({ outcome, killedBy, denials }) =>
    outcome === "killed" && killedBy === by
      ? { verdict: "stopped", happened: denials[0]?.why ?? by }
      : undefined;
}

/** What a message says first; what follows a comma are its circumstances. */
function clause(message: string): string {
  return message.split(/, (?:and|so) /)[0] ?? message;
}

/** Since `started`, to a tenth. */
export function elapsedMs(started: number): number {
  return Math.round((performance.now() - started) * 10) / 10;
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
