import type { Command } from "commander";
import { callNetwork } from "../../../catalog/call-network.ts";
import type { Snapshot } from "../../../config/snapshot.ts";
import { formatPlace } from "../../../contract/errors.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { catalogOf, inspectProject, locateProject, snapshotOf, textsOf } from "../inspect-project.ts";
import { count, labelled, paint, printJson, speaking } from "../output.ts";
import type { PlacedTest } from "../policy-test-file.ts";
import { visible } from "../terminal.ts";

export function registerPolicy(program: Command, context: CliContext): void {
  const policy = program
    .command("policy")
    .summary("policies: check, test, schema")
    .description("The policies of this project, trusted or not; without a project the built-in ones.");
  example(policy, ["callgate policy check", "callgate policy test"]);
  registerCheckAll(policy, context);
  registerTest(policy, context);
  registerSchema(policy, context);
}

async function readSnapshot(command: Command): Promise<Snapshot | undefined> {
  return await snapshotOf(locateProject(globalOptions(command)));
}

function registerCheckAll(policy: Command, context: CliContext): void {
  const command = policy
    .command("check")
    .summary("validate every policy against the tools there are")
    .description(
      "Parse every policy and validate it against the schema of the catalogue: a tool, group or field that does not\nexist is an error, with its place.",
    )
    .action(async (_options: object, self: Command) => {
      const { judge, catalog, policies } = await inspectProject(await readSnapshot(self));
      const { all, warnings } = judge.policies;
      if (globalOptions(self).json === true) {
        printJson(context.terminal, {
          valid: true,
          builtin: policies.length === 0,
          policies: [...all.values()].map(({ id, effect, place }) => ({ id, effect, place })),
          tools: catalog.tools.size,
          warnings,
        });
        return;
      }
      const where = policies.length === 0 ? "built in" : `in ${count(policies.length, "file")}`;
      const lines = warnings.map(({ place, message }) =>
        labelled("warning", `${formatPlace(place)}: ${message}`),
      );
      context.terminal.out(
        `${paint("green", "✓ valid")}  ${count(all.size, "policy", "policies")} ${where}, for ${count(catalog.tools.size, "tool")}\n${lines.join("")}`,
      );
    });
  example(command, ["callgate policy check"]);
}

function registerTest(policy: Command, context: CliContext): void {
  const command = policy
    .command("test")
    .summary("run the policy tests")
    .description(
      "Run policies/tests/*.yaml: each says what must be decided about one call. Exits 1 where one fails.",
    )
    .action(async (_options: object, self: Command) => {
      const globals = globalOptions(self);
      const snapshot = await readSnapshot(self);
      const placed = await readTests(snapshot);
      const { settings, catalog, policies } = await inspectProject(snapshot);
      const { runPolicyTests } = await import("../../../intent/policy-test.ts");
      const results = await runPolicyTests(
        {
          tools: [...catalog.tools.values()],
          policies,
          environment: settings.environment,
          depthMax: settings.session.depthMax,
          networkOf: callNetwork,
        },
        placed.map(({ test }) => test),
      );
      const outcomes = results.map((result, index) => ({ ...result, place: placed[index]?.place ?? "" }));
      const failed = outcomes.filter(({ passed }) => !passed).length;
      if (failed > 0) context.exitCode = 1;
      if (globals.json === true) {
        printJson(context.terminal, { passed: outcomes.length - failed, failed, tests: outcomes });
        return;
      }
      for (const { name, place, passed, diff } of outcomes) {
        const mark = passed ? paint("green", "✓") : paint("red", "✗");
        context.terminal.out(
          `${mark} ${visible(name)}${passed ? "" : `  ${paint("dim", visible(place))}`}\n`,
        );
        for (const difference of diff) context.terminal.out(labelled("", difference));
      }
      speaking(context, globals).err(summaryOf(outcomes.length, failed));
    });
  example(command, ["callgate policy test"]);
}

async function readTests(snapshot: Snapshot | undefined): Promise<readonly PlacedTest[]> {
  if (snapshot === undefined) return [];
  const { parsePolicyTests } = await import("../policy-test-file.ts");
  return [...textsOf(snapshot, snapshot.policyTests)].flatMap(([file, text]) => parsePolicyTests(text, file));
}

function summaryOf(all: number, failed: number): string {
  if (all === 0) return "there are no policy tests; they stand in policies/tests/*.yaml\n";
  return `${count(all, "test")}, ${failed === 0 ? "all passed" : `${failed} failed`}\n`;
}

function registerSchema(policy: Command, context: CliContext): void {
  const command = policy
    .command("schema")
    .summary("print what a policy can name")
    .description(
      "Print the Cedar schema generated from the catalogue: every tool, group and field a policy can name.\nWhat of an input is not in it, policy sees as a pointer and a digest.",
    )
    .action(async (_options: object, self: Command) => {
      const catalog = await catalogOf(await readSnapshot(self));
      const { schemaText } = await import("../../../intent/cedar-schema.ts");
      const schema = await schemaText([...catalog.tools.values()]);
      if (globalOptions(self).json === true) printJson(context.terminal, { schema });
      else context.terminal.out(`${visible(schema.trimEnd())}\n`);
    });
  example(command, ["callgate policy schema > callgate.cedarschema"]);
}
