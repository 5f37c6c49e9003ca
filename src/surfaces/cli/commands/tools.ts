import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describeNetwork } from "../../../catalog/call-network.ts";
import type { Catalog } from "../../../catalog/create-catalog.ts";
import type { FieldChange, LockDiff } from "../../../catalog/lock.ts";
import { LOCK_NAME } from "../../../config/snapshot.ts";
import { GateError } from "../../../contract/errors.ts";
import { formatRoot } from "../../../contract/root.ts";
import type { Tool } from "../../../contract/tool.ts";
import { loadProject } from "../../../load-project.ts";
import { type CliContext, example, globalOptions, projectOptions } from "../context.ts";
import { catalogOf, locateProject, requireSnapshot } from "../inspect-project.ts";
import { count, labelled, paint, printJson, speaking, table } from "../output.ts";
import { reportTrust } from "../report-trust.ts";
import { visible } from "../terminal.ts";

export function registerTools(program: Command, context: CliContext): void {
  const tools = program
    .command("tools")
    .summary("the catalogue: list, show, lock, diff")
    .description("The catalogue: which tools can be called, and whether they are as they were locked.");
  example(tools, ["callgate tools list", "callgate tools show repo.search"]);
  registerList(tools, context);
  registerShow(tools, context);
  registerLock(tools, context);
  registerDiff(tools, context);
}

/** What can be called now: an untrusted project's tools are not among it, and that is said. */
async function catalogInForce(command: Command, context: CliContext): Promise<Catalog> {
  const globals = globalOptions(command);
  const { catalog, project } = await loadProject(projectOptions(globals));
  reportTrust(speaking(context, globals), project);
  return catalog;
}

function registerList(tools: Command, context: CliContext): void {
  const command = tools
    .command("list")
    .summary("every tool that can be called")
    .description("List every tool that can be called here.")
    .action(async (_options: object, self: Command) => {
      const all = [...(await catalogInForce(self, context)).tools.values()];
      if (globalOptions(self).json === true) {
        const listed = all.map(({ name, tier, categories, description, digest }) => ({
          name,
          tier,
          categories,
          description,
          digest,
        }));
        printJson(context.terminal, listed);
        return;
      }
      const rows = all.map(({ name, tier, categories, description }) => [
        name,
        tier,
        categories.join(", "),
        description,
      ]);
      context.terminal.out(table(["TOOL", "TIER", "CATEGORIES", "WHAT"], rows));
    });
  example(command, ["callgate tools list"]);
}

function registerShow(tools: Command, context: CliContext): void {
  const command = tools
    .command("show")
    .summary("one tool: its command, sandbox and input")
    .description("Show one tool: what it runs, what it may see, and the schema its input has to fit.")
    .argument("<TOOL>", "the tool's name")
    .action(async (name: string, _options: object, self: Command) => {
      const tool = (await catalogInForce(self, context)).get(name);
      if (globalOptions(self).json === true) printJson(context.terminal, tool);
      else context.terminal.out(toolText(tool));
    });
  example(command, ["callgate tools show repo.search"]);
}

function toolText({
  name,
  description,
  tier,
  categories,
  run,
  sandbox,
  input,
  output,
  digest,
}: Tool): string {
  const { files, limits, isolation, root, network } = sandbox;
  const variables = Object.entries(run.environment).map(([key, value]) => `${key}=${value}`);
  const optional = (label: string, values: readonly string[]): readonly string[] =>
    values.length === 0 ? [] : [labelled(label, values.join("\n"))];
  return [
    `${paint("bold", visible(name))}  ${visible(description)}\n`,
    labelled("tier", [tier, ...categories].join(", ")),
    labelled("command", JSON.stringify(run.command)),
    ...optional("stdin", run.stdin === undefined ? [] : [run.stdin]),
    ...optional("env", variables),
    labelled("output", output),
    ...optional("read", files.read),
    ...optional("write", files.write),
    ...optional("hide", files.hide),
    labelled("network", describeNetwork(network)),
    ...optional("isolation", isolation === undefined ? [] : [isolation]),
    ...optional("root", root === undefined ? [] : [formatRoot(root)]),
    labelled(
      "limits",
      `${limits.wallMs} ms, ${limits.memoryBytes} bytes of memory, ${limits.processes} processes, ${limits.outputBytes} bytes of output`,
    ),
    labelled("digest", digest),
    labelled("input", JSON.stringify(input, null, 2)),
  ].join("");
}

function registerLock(tools: Command, context: CliContext): void {
  const command = tools
    .command("lock")
    .summary("write callgate.lock: the definitions as they are now")
    .description(
      "Write the definitions of this project's tools to callgate.lock, for a review to see what changes in them.\nThe lock is part of what is trusted, so the project has to be trusted again afterwards.",
    )
    .action(async (_options: object, self: Command) => {
      const globals = globalOptions(self);
      const snapshot = await requireSnapshot(locateProject(globals));
      const catalog = await catalogOf(snapshot);
      const { lockText } = await import("../../../catalog/lock.ts");
      const text = lockText(catalog);
      const path = join(snapshot.root, LOCK_NAME);
      const changed = snapshot.files.get(LOCK_NAME) !== text;
      if (changed) writeLock(path, text);
      const tools = catalog.tools.size - 1;
      if (globals.json === true) printJson(context.terminal, { path, changed, tools });
      else context.terminal.out(`${visible(path)}\n`);
      const next = changed ? "; run `callgate trust` to put it in force" : ", unchanged";
      speaking(context, globals).err(`${count(tools, "tool")} locked${next}\n`);
    });
  example(command, ["callgate tools lock && callgate trust"]);
}

function writeLock(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be written`, {
      cause,
      remedy: "make the project's folder writable",
    });
  }
}

function registerDiff(tools: Command, context: CliContext): void {
  const command = tools
    .command("diff")
    .summary("what differs from callgate.lock")
    .description(
      "Show what differs between this project's tools, trusted or not, and callgate.lock. Exits 1 where something does.",
    )
    .action(async (_options: object, self: Command) => {
      const globals = globalOptions(self);
      const snapshot = await requireSnapshot(locateProject(globals));
      if (snapshot.lock === undefined) {
        throw new GateError("ERR_CONFIG_NOT_FOUND", `there is no \`${LOCK_NAME}\` in \`${snapshot.root}\``, {
          remedy: "write it with `callgate tools lock`",
        });
      }
      const { diffLock, parseLock } = await import("../../../catalog/lock.ts");
      const lock = parseLock(snapshot.files.get(snapshot.lock) ?? "", snapshot.lock);
      const diff = diffLock(lock, await catalogOf(snapshot));
      const differs = diff.added.length + diff.removed.length + diff.changed.length > 0;
      if (differs) context.exitCode = 1;
      if (globals.json === true) printJson(context.terminal, { same: !differs, ...diff });
      else if (differs) context.terminal.out(diffText(diff));
      else speaking(context, globals).err("every tool is as it was locked\n");
    });
  example(command, ["callgate tools diff"]);
}

function diffText({ added, removed, changed }: LockDiff): string {
  return [
    ...added.map((name) => `${paint("green", `+ ${visible(name)}`)}\n`),
    ...removed.map((name) => `${paint("red", `- ${visible(name)}`)}\n`),
    ...changed.map(
      ({ name, fields }) => `${paint("yellow", `~ ${visible(name)}`)}\n${fields.map(fieldText).join("")}`,
    ),
  ].join("");
}

function fieldText({ field, before, after }: FieldChange): string {
  const said = (value: unknown): string => (value === undefined ? "not there" : JSON.stringify(value));
  return `${visible(`    ${field}: ${said(before)} → ${said(after)}`)}\n`;
}
