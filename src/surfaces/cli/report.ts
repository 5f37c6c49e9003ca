import { constants } from "node:os";
import type { Change, Changes } from "../../contract/changes.ts";
import { formatPlace, GateError } from "../../contract/errors.ts";
import type { Denial } from "../../contract/execution.ts";
import type { JsonObject } from "../../contract/json.ts";
import type { CallResult } from "../../contract/result.ts";
import { limitRemedy, limitText } from "./limit-report.ts";
import { type Terminal, visible } from "./terminal.ts";

const LABEL_WIDTH = 8;

/** Prints a fault: what, where, and what to do. Returns the exit code. */
export function reportError(
  terminal: Terminal,
  error: unknown,
  { json }: { readonly json: boolean },
): number {
  const fault =
    error instanceof GateError
      ? error
      : new GateError("ERR_INTERNAL", error instanceof Error ? error.message : String(error), {
          cause: error,
        });
  const told = [fault, ...fault.also];
  if (json) {
    const [error, ...also] = told.map(faultJson);
    terminal.out(`${JSON.stringify({ error: { ...error, ...(also.length > 0 && { also }) } })}\n`);
    return fault.exitCode;
  }
  for (const each of told) {
    terminal.err(`${terminal.paint("red", "error")}   ${visible(each.message)}\n`);
    if (each.place !== undefined) line(terminal, "at", formatPlace(each.place));
    if (each.remedy !== undefined) line(terminal, "fix", each.remedy);
    line(terminal, "code", each.code);
  }
  return fault.exitCode;
}

function faultJson({ code, message, place, remedy }: GateError): JsonObject {
  return {
    code,
    message,
    ...(place === undefined ? {} : { place: formatPlace(place) }),
    ...(remedy === undefined ? {} : { remedy }),
  };
}

/** One labelled line under a headline. */
export function line(terminal: Terminal, label: string, text: string): void {
  const indent = " ".repeat(LABEL_WIDTH + 2);
  terminal.err(
    `  ${terminal.paint("dim", `${label} `.padEnd(LABEL_WIDTH))}${visible(text).replaceAll("\n", `\n${indent}`)}\n`,
  );
}

/** What was decided about a call, how it was confined and how it ended, for a person. */
export function reportCall(terminal: Terminal, result: CallResult): void {
  const { paint } = terminal;
  if (result.outcome === "exited") {
    reportExited(terminal, result);
    return;
  }
  const said = {
    killed: "stopped",
    unstarted: "not run",
    forbidden: "refused",
    pending: "waiting",
    invalid: "refused",
  }[result.outcome];
  terminal.err(`${paint("red", `✗ ${said}`)}  ${paint("bold", visible(result.tool))}\n`);
  for (const why of reasonsOf(result)) line(terminal, "why", why);
  const fixes = result.error?.remedy ?? result.decision.remedies?.join("; ") ?? limitFix(result);
  if (fixes !== undefined) line(terminal, "fix", fixes);
  if (result.decision.policies.length > 0) line(terminal, "policy", result.decision.policies.join(", "));
  line(terminal, "record", `${result.call}${result.error === null ? "" : `, ${result.error.code}`}`);
}

function reportExited(terminal: Terminal, result: CallResult): void {
  const { paint } = terminal;
  const mark = paint(...exitedAs(result.exitCode, result.changes?.state));
  const enforced = Object.values(result.controls ?? {}).filter(
    (control) => control.state === "enforced",
  ).length;
  const ms = result.usage === null ? "" : ` in ${result.usage.wallMs.toFixed(0)} ms`;
  const confined = paint(
    "dim",
    `${result.driver}, ${enforced} controls verified${ms}, recorded as ${result.call}`,
  );
  terminal.err(`${mark}  ${paint("bold", visible(result.tool))}  ${confined}\n`);
  if (result.changes !== null) line(terminal, "changes", changesText(result.changes));
  if (result.error !== null) line(terminal, "but", result.error.message);
  for (const denial of result.denials) {
    line(terminal, "denied", denialText(denial));
    const remedy = denial.remedy ?? (denial.kind === "limit" ? limitRemedy(denial, result.tool) : undefined);
    if (remedy !== undefined) line(terminal, "fix", remedy);
  }
}

/** How a call that came to its end is headed: where its changes are not in the tree, it did not simply run. */
export function exitedAs(
  exitCode: number | null,
  changes: Changes["state"] | undefined,
): ["green" | "yellow" | "red", string] {
  if (exitCode !== 0) return ["yellow", `! exit ${exitCode}`];
  return changes === undefined || changes === "applied" ? ["green", "✓ ran"] : ["red", "✗ not applied"];
}

/** Of the limit that stopped it. */
function limitFix({ killedBy, denials, tool }: CallResult): string | undefined {
  const limit = denials.find(({ kind, what }) => kind === "limit" && what === killedBy);
  return limit === undefined ? undefined : limitRemedy(limit, tool);
}

/** How many of each, and whether they are made; `--json` lists them. */
function changesText({ state, paths }: Changes): string {
  const count = (change: Change["change"]): number => paths.filter((one) => one.change === change).length;
  return `${state}: ${count("added")} added, ${count("changed")} changed, ${count("deleted")} deleted`;
}

/** A refused system call is named; a limit's reason speaks for itself. */
export function denialText({ kind, what, why }: Denial): string {
  return kind === "limit" ? limitText(why) : `${what}: ${why}`;
}

function reasonsOf(result: CallResult): readonly string[] {
  if (result.outcome === "killed")
    return result.denials.length > 0 ? result.denials.map(denialText) : ["cancelled"];
  return result.error === null ? result.decision.reasons : [result.error.message];
}

/** The exit code of `run` and `exec`: the tool's own when it exited, else what kept it. */
export function exitCodeOf(
  result: CallResult,
  cancelled: NodeJS.Signals | undefined,
  codes: (code: string) => number,
): number {
  switch (result.outcome) {
    case "exited":
      return result.error === null ? (result.exitCode ?? 0) : codes(result.error.code);
    case "killed":
      if (result.killedBy === "wall") return 124;
      return result.killedBy === "abort" ? 128 + constants.signals[cancelled ?? "SIGINT"] : 137;
    default:
      return codes(result.error?.code ?? "ERR_INTERNAL");
  }
}
