import type { Command } from "commander";
import type { LogEntry } from "../../../audit/log.ts";
import type { Caller } from "../../../contract/call.ts";
import type { Changes } from "../../../contract/changes.ts";
import { ERRORS, formatPlace, type GateErrorCode } from "../../../contract/errors.ts";
import type { Denial } from "../../../contract/execution.ts";
import type { CallId } from "../../../contract/ids.ts";
import { isJsonObject, type JsonObject } from "../../../contract/json.ts";
import type { Policy } from "../../../intent/policy.ts";
import { loadProject } from "../../../load-project.ts";
import { type CliContext, example, type GlobalOptions, globalOptions, projectOptions } from "../context.ts";
import { at, outcomeOf, textAt, textsAt, timeOf, toolOf } from "../entry-view.ts";
import { callNamed, noSuchCall, openRecord, stateDirOf } from "../open-record.ts";
import { labelled, paint, printJson } from "../output.ts";
import { denialText, exitedAs } from "../report.ts";
import { visible } from "../terminal.ts";
import { remediesFor } from "../why-remedies.ts";

/** Permits told where none matched. */
const NEAR_MAX = 3;

interface AccountPolicy {
  readonly id: string;
  readonly place?: string;
  readonly text?: string;
}

/** What the record and the project as it is now tell about one call. */
interface Account {
  readonly call: CallId;
  readonly tool: string;
  readonly outcome: string;
  readonly time: string;
  readonly code: string | undefined;
  /** What happened, one line each. */
  readonly why: readonly string[];
  /** Of a tool that came to its end. */
  readonly exitCode?: number | null;
  /** What became of staged writes. */
  readonly changes?: Changes["state"];
  /** What it was not let do while it ran, one line each. */
  readonly denied: readonly string[];
  /** Policies that decided; text and place as they are now, where they are still there. */
  readonly policies: readonly AccountPolicy[];
  /** Where nothing permitted it: permits that speak of this tool. Which of their conditions failed is not in the record. */
  readonly near: readonly AccountPolicy[];
  readonly policiesChanged: boolean;
  /** Required controls the host did not show. */
  readonly unenforced: readonly string[];
  readonly remedies: readonly string[];
}

export function registerWhy(program: Command, context: CliContext): void {
  const command = program
    .command("why")
    .summary("why a call was refused or stopped, and what would permit it")
    .description(
      "Tell from the record what became of a call: the rule, field, control or limit that stopped it, and what would\npermit it.",
    )
    .argument("[CALL]", "the call's id, or `last`", "last")
    .action(async (name: string, _options: object, self: Command) => {
      const globals = globalOptions(self);
      await using record = await openRecord(stateDirOf(globals));
      const call = await callNamed(record, name);
      const entries = await record.entriesOfCall(call);
      if (entries.length === 0) throw noSuchCall(call);
      const account = await accountOf(call, entries, globals);
      if (globals.json === true) printJson(context.terminal, account);
      else context.terminal.out(asText(account));
    });
  example(command, ["callgate why", "callgate why 0199f2c4-7c1e-7000-8000-000000000000 --json"]);
}

async function accountOf(
  call: CallId,
  entries: readonly LogEntry[],
  globals: GlobalOptions,
): Promise<Account> {
  const find = (...kinds: string[]): JsonObject | undefined =>
    entries.find(({ entry }) => kinds.includes(textAt(entry, "kind")))?.entry;
  const asked = find("intent", "denied") ?? {};
  const end = find("denied", "outcome", "recovered");
  const outcome = end === undefined ? "running" : outcomeName(end);
  const code = end && (textAt(end, "code") || textAt(end, "error", "code") || undefined);
  const tool = toolOf(asked) || (end === undefined ? "" : toolOf(end));
  const policies = textsAt(asked, "decision", "policies");
  const known = await policiesNow(asked, policies, globals);
  return {
    call,
    tool,
    outcome,
    time: timeOf(end ?? asked),
    code,
    why: reasonsOf(asked, end),
    ...endingOf(end),
    denied: denialsOf(end).flatMap((denial) => (stopped(end, denial) ? [] : [denialText(denial)])),
    ...known,
    unenforced: unenforcedIn(find("opened")),
    remedies: remediesFor({ tool, outcome, code, killedBy: end && textAt(end, "killedBy"), policies }),
  };
}

/** As a result would have called it. */
function outcomeName(end: JsonObject): string {
  if (end["kind"] === "recovered") return "recovered";
  if (end["kind"] === "outcome") return textAt(end, "outcome");
  const exit = ERRORS[textAt(end, "code") as GateErrorCode]?.exit as number | undefined;
  if (exit === 69) return "unstarted";
  return exit === 77 ? "forbidden" : "invalid";
}

function reasonsOf(asked: JsonObject, end: JsonObject | undefined): readonly string[] {
  if (end === undefined) return ["it was let in and has not ended"];
  if (end["kind"] === "recovered") return [textAt(end, "message")];
  if (end["kind"] === "denied") {
    const reasons = textsAt(asked, "decision", "reasons");
    const message = textAt(end, "message");
    return at(asked, "decision", "effect") === "forbid" && reasons.length > 0 ? reasons : [message];
  }
  // Where the tool itself failed, that says enough.
  const unmade = textAt(end, "changes", "state") === "discarded" ? "" : textAt(end, "changes", "reason");
  return [
    outcomeOf(end),
    ...(unmade === "" ? [] : [`nothing was applied: ${unmade}`]),
    ...denialsOf(end).flatMap((denial) => (stopped(end, denial) ? [denialText(denial)] : [])),
  ];
}

function endingOf(end: JsonObject | undefined): Pick<Account, "exitCode" | "changes"> {
  if (end === undefined || outcomeName(end) !== "exited") return {};
  const exitCode = at(end, "exitCode");
  const changes = textAt(end, "changes", "state");
  return {
    exitCode: typeof exitCode === "number" ? exitCode : null,
    ...(changes === "" ? {} : { changes: changes as Changes["state"] }),
  };
}

function denialsOf(end: JsonObject | undefined): readonly Denial[] {
  const denials = end && at(end, "denials");
  return Array.isArray(denials) ? denials.filter(isJsonObject).map(recordedDenial) : [];
}

function recordedDenial(denial: JsonObject): Denial {
  return {
    kind: textAt(denial, "kind") as Denial["kind"],
    what: textAt(denial, "what"),
    why: textAt(denial, "why"),
  };
}

/** Whether it is the limit that ended the call: of everything else the tool was told, and went on. */
function stopped(end: JsonObject | undefined, { kind, what }: Denial): boolean {
  return kind === "limit" && end !== undefined && what === textAt(end, "killedBy");
}

function unenforcedIn(opened: JsonObject | undefined): readonly string[] {
  const controls = opened && at(opened, "controls");
  if (!isJsonObject(controls)) return [];
  return Object.entries(controls).flatMap(([name, control]) =>
    isJsonObject(control) && control["state"] !== "enforced"
      ? [`${name} (${textAt(control, "evidence")})`]
      : [],
  );
}

function shown(policy: Policy | undefined): AccountPolicy | undefined {
  return policy && { id: policy.id, place: formatPlace(policy.place), text: policy.text };
}

/** The deciding policies' texts. The record holds their ids and a digest, so a policy that changed since is said so. */
async function policiesNow(
  asked: JsonObject,
  ids: readonly string[],
  globals: GlobalOptions,
): Promise<Pick<Account, "policies" | "near" | "policiesChanged">> {
  const bare = { policies: ids.map((id) => ({ id })), near: [], policiesChanged: false };
  const forbidden = textAt(asked, "code") === "ERR_FORBIDDEN";
  if (ids.length === 0 && !forbidden) return bare;
  try {
    const loaded = await loadProject(projectOptions(globals));
    const { loadJudge } = await import("../../../open-gate.ts");
    const judge = await loadJudge(loaded);
    const tool = loaded.catalog.get(toolOf(asked));
    const kind = textAt(asked, "caller", "kind") as Caller["kind"];
    const { policyDigest, slice } = judge.evaluator.prepare(tool, kind);
    const policies = ids.map((id) => shown(judge.policies.all.get(id)) ?? { id });
    const permits = slice.filter(({ effect }) => effect === "permit").slice(0, NEAR_MAX);
    const near = forbidden && ids.length === 0 ? permits.flatMap((permit) => shown(permit) ?? []) : [];
    return { policies, near, policiesChanged: policyDigest !== textAt(asked, "decision", "policyDigest") };
  } catch {
    // The record stands without the project, which may have moved or broken since.
    return { ...bare, policiesChanged: true };
  }
}

function asText(account: Account): string {
  const { outcome, tool, why, denied, policies, near, policiesChanged, remedies, unenforced } = account;
  const said: Readonly<Record<string, string>> = {
    exited: paint(...exitedAs(account.exitCode ?? null, account.changes)),
    running: paint("yellow", "! running"),
    killed: paint("red", "✗ stopped"),
    unstarted: paint("red", "✗ not run"),
    recovered: paint("yellow", "! cut off"),
  };
  return [
    `${said[outcome] ?? paint("red", "✗ refused")}  ${paint("bold", visible(tool))}\n`,
    ...why.map((reason) => labelled("why", reason)),
    ...denied.map((what) => labelled("denied", what)),
    ...(account.code === undefined ? [] : [labelled("code", account.code)]),
    ...policies.map((policy) => labelled("policy", policyText(policy, outcome === "forbidden"))),
    ...near.map((policy) => labelled("near", policyText(policy, true))),
    ...(policiesChanged ? [labelled("note", "the policies are not those that decided then")] : []),
    ...unenforced.map((control) => labelled("without", control)),
    ...remedies.map((remedy) => labelled("fix", remedy)),
    labelled("record", `${account.call}, ${account.time}`),
  ].join("");
}

/** With its text where the policy is what decided against the call. */
function policyText({ id, place, text }: AccountPolicy, whole: boolean): string {
  if (place === undefined) return id;
  return whole ? `${id}, ${place}\n${text}` : `${id}, ${place}`;
}
