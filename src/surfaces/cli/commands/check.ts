import type { Command } from "commander";
import type { CheckedCall } from "../../../check-call.ts";
import { formatPlace } from "../../../contract/errors.ts";
import type { NearPermit, ShownPolicy } from "../../../intent/explain.ts";
import { loadProject } from "../../../load-project.ts";
import { type CliContext, example, globalOptions, projectOptions } from "../context.ts";
import { labelled, paint, printJson, speaking } from "../output.ts";
import { reportTrust } from "../report-trust.ts";
import { visible } from "../terminal.ts";
import { readInput } from "./run.ts";

interface CheckOptions {
  readonly input?: string;
  readonly arg?: readonly string[];
}

/** As `run` would end without running: permit, ask, forbid. */
const EXIT_CODES = { permit: 0, ask: 75, forbid: 77 } as const;

export function registerCheck(program: Command, context: CliContext): void {
  const command = program
    .command("check")
    .summary("the decision on a call and why, running nothing")
    .description(
      "Judge one call without making it: the policies that decide, what is missing, the nearest permit, and whether\nthis host could run it. Exits 0 permit, 75 ask, 77 forbid, 65 for an input that does not fit.",
    )
    .argument("<TOOL>", "the tool's name; `callgate tools list` shows what there is")
    .option("--input <JSON|@FILE|->", "the input: JSON, a file that holds it, or standard input")
    .option("--arg <k=v...>", "one member of the input; JSON where it parses as such, else text")
    .action(async (tool: string, options: CheckOptions, self: Command) => {
      await check(tool, options, self, context);
    });
  example(command, [
    "callgate check repo.search --arg pattern=TODO",
    "callgate check callgate.exec --arg 'command=[\"make\"]' --json",
  ]);
}

async function check(
  tool: string,
  options: CheckOptions,
  command: Command,
  context: CliContext,
): Promise<void> {
  const globals = globalOptions(command);
  const loaded = await loadProject(projectOptions(globals));
  reportTrust(speaking(context, globals), loaded.project);
  const input = await readInput(options);
  const { checkCall } = await import("../../../check-call.ts");
  const checked = await checkCall(loaded, { tool, input });
  context.exitCode = EXIT_CODES[checked.explanation.decision.effect];
  if (globals.json === true) printJson(context.terminal, asJson(checked));
  else context.terminal.out(asText(checked));
}

function asJson({ prepared, explanation, hindrance, needs, host }: CheckedCall): object {
  const { decision, ...why } = explanation;
  const { effect, policies, reasons } = decision;
  return {
    tool: prepared.tool.name,
    digest: prepared.tool.digest,
    input: prepared.call.input,
    decision: { effect, policies, reasons },
    ...why,
    hindrance: hindrance && { code: hindrance.code, message: hindrance.message, remedy: hindrance.remedy },
    needs,
    host,
  };
}

function asText({ prepared, explanation, hindrance, needs, host }: CheckedCall): string {
  const { decision, deciding, nearest, remedies, obligations, seen } = explanation;
  const head = {
    permit: paint("green", "✓ permit"),
    ask: paint("yellow", "! ask"),
    forbid: paint("red", "✗ forbid"),
  }[decision.effect];
  const parts = [`${head}  ${paint("bold", visible(prepared.tool.name))}\n`];
  for (const reason of decision.reasons) parts.push(labelled("why", reason));
  for (const policy of deciding) {
    parts.push(policyText("policy", policy));
    if (decision.effect === "forbid") parts.push(...policy.fields.map(fieldText));
  }
  for (const policy of nearest) parts.push(...nearText(policy));
  for (const { pointer } of seen.opaque)
    parts.push(labelled("opaque", `policy sees only a digest of ${pointer}`));
  for (const remedy of remedies) parts.push(labelled("fix", remedy));
  for (const obligation of obligations) parts.push(labelled("needs", obligation));
  parts.push(
    labelled("needs", `enforced: ${needs.controls.join(", ")}${needs.treeLimits ? ", and a cgroup" : ""}`),
  );
  const where = `${needs.isolation} isolation`;
  if (host.usable) parts.push(labelled("host", `${where} by ${host.driver}: ${host.detail}`));
  else parts.push(labelled("host", `✗ no ${where}: ${host.detail}`));
  if (host.remedy !== undefined) parts.push(labelled("fix", host.remedy));
  if (hindrance !== undefined) {
    parts.push(labelled("but", `it would not run: ${hindrance.message}`));
    if (hindrance.remedy !== undefined) parts.push(labelled("fix", hindrance.remedy));
  }
  return parts.join("");
}

function policyText(label: string, { id, place, text }: ShownPolicy): string {
  return labelled(label, `${id}, ${formatPlace(place)}\n${text}`);
}

function fieldText({ field, value }: NearPermit["failed"][number]["fields"][number]): string {
  return labelled("", `${field} is ${value === null ? "not there" : JSON.stringify(value)}`);
}

/** A permit that came close: what of it does not hold, and what the call has there instead. */
function nearText(policy: NearPermit): string[] {
  return [
    policyText("near", policy),
    ...policy.failed.flatMap(({ text, fields }) => [labelled("failed", text), ...fields.map(fieldText)]),
  ];
}
