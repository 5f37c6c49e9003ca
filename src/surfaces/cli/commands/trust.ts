import type { Command } from "commander";
import type { Snapshot } from "../../../config/snapshot.ts";
import type { Trust } from "../../../config/trust.ts";
import { GateError } from "../../../contract/errors.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { type InspectedProject, inspectProject, locateProject, requireSnapshot } from "../inspect-project.ts";
import { count, paint, printJson, speaking } from "../output.ts";
import { strangeCredentials } from "../strange-credentials.ts";
import { type Terminal, visible } from "../terminal.ts";

interface TrustOptions {
  readonly yes?: boolean;
}

export function registerTrust(program: Command, context: CliContext): void {
  const command = program
    .command("trust")
    .summary("pin this project's configuration by digest; show what changed since")
    .description(
      "Show what of this project's configuration, tools and policies is new since it was trusted, and pin it by digest.\nA project that does not load is not pinned.",
    )
    .option("--yes", "pin it without asking; read the changes first")
    .action(async (options: TrustOptions, self: Command) => {
      await trust(options, self, context);
    });
  example(command, ["callgate trust", "callgate trust --yes"]);
}

async function trust({ yes }: TrustOptions, command: Command, context: CliContext): Promise<void> {
  const globals = globalOptions(command);
  const terminal = speaking(context, globals);
  const located = locateProject(globals);
  const snapshot = await requireSnapshot(located);
  const { readTrust, trustProject } = await import("../../../config/trust.ts");
  const before = readTrust(snapshot, located.paths.stateDir);
  // What is shown, what is checked and what is pinned is one reading of the files.
  const project = await checkWhole(snapshot);
  const strange = await strangeCredentials(project.catalog, located.paths.configDirs);
  const isNew = before.state !== "trusted";
  if (globals.json !== true) showChanges(terminal, before);
  const agreed = !isNew || yes === true || (globals.json !== true && (await ask(context.terminal, snapshot)));
  if (isNew && agreed) trustProject(snapshot, located.paths.stateDir);
  if (globals.json === true) {
    const { root, digest } = snapshot;
    const error = agreed ? undefined : unanswered();
    printJson(terminal, {
      project: root,
      digest,
      state: agreed ? "trusted" : before.state,
      changes: before.changes,
      unlocked: project.unlocked,
      unknownCredentials: strange.map(({ name }) => name),
      ...(error && { error: { code: error.code, message: error.message, remedy: error.remedy } }),
    });
    if (error !== undefined) context.exitCode = error.exitCode;
    return;
  }
  if (!agreed) {
    terminal.err(`${terminal.paint("yellow", "! not trusted")}  nothing was pinned\n`);
    context.exitCode = new GateError("ERR_CONFIG_UNTRUSTED", "").exitCode;
    return;
  }
  const what = isNew ? "✓ trusted" : "✓ trusted already";
  terminal.err(
    `${terminal.paint("green", what)}  ${visible(snapshot.root)}: ${summaryOf(snapshot, project)}\n`,
  );
  for (const { warning } of strange)
    terminal.err(`${terminal.paint("yellow", "! no credential")}  ${visible(warning)}\n`);
  if (project.unlocked.length > 0) {
    const names = project.unlocked.map(visible).join(", ");
    const fix = "`callgate tools diff`, then `callgate tools lock`";
    terminal.err(`${terminal.paint("yellow", "! not as callgate.lock has them")}  ${names}: ${fix}\n`);
  }
}

interface CheckedProject extends InspectedProject {
  /** Tools that cannot be called although the project is trusted. */
  readonly unlocked: readonly string[];
}

/** The lock and the authorities too: a broken one would stop every call of a project that has just been trusted. */
async function checkWhole(snapshot: Snapshot): Promise<CheckedProject> {
  const project = await inspectProject(snapshot);
  if (snapshot.settings.egress.authorities.length > 0)
    (await import("../../../config/authorities.ts")).authoritiesIn(snapshot);
  if (snapshot.lock === undefined) return { ...project, unlocked: [] };
  const { diffLock, parseLock } = await import("../../../catalog/lock.ts");
  const lock = parseLock(snapshot.files.get(snapshot.lock) ?? "", snapshot.lock);
  const { added, changed } = diffLock(lock, project.catalog);
  return { ...project, unlocked: [...added, ...changed.map(({ name }) => name)] };
}

function summaryOf({ settings, policies }: Snapshot, { catalog, judge }: InspectedProject): string {
  const { name, protected: isProtected } = settings.environment;
  return [
    count(catalog.tools.size - 1, "tool"),
    policies.length === 0
      ? "the built-in policies"
      : `${count(judge.policies.all.size, "policy", "policies")} in ${count(policies.length, "file")}`,
    `environment ${name}${isProtected ? ", protected" : ""}`,
  ].join(", ");
}

function showChanges(terminal: Terminal, { state, changes }: Trust): void {
  if (state === "trusted") return;
  for (const { diff } of changes) terminal.out(coloured(diff));
  const what = state === "untrusted" ? "was never trusted" : "changed since it was trusted";
  terminal.err(`\nThis project ${what}: ${count(changes.length, "file")} above.\n`);
}

function coloured(diff: string): string {
  const styles = { "+": "green", "-": "red", "@": "cyan" } as const;
  return visible(diff)
    .split("\n")
    .map((line) => {
      const style = styles[line.charAt(0) as keyof typeof styles];
      return style === undefined ? line : paint(style, line);
    })
    .join("\n");
}

/** @throws GateError `ERR_USAGE` where there is nobody to ask. */
async function ask(terminal: Terminal, { root }: Snapshot): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw unanswered();
  const { createInterface } = await import("node:readline/promises");
  using prompt = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((done) => prompt.once("close", () => done("")));
  const question = terminal.paint("bold", `Trust \`${visible(root)}\` as it is above? [y/N] `);
  const answer = await Promise.race([prompt.question(question), closed]);
  return /^y(es)?$/i.test(answer.trim());
}

function unanswered(): GateError {
  return new GateError("ERR_USAGE", "nobody can be asked here, so nothing was pinned", {
    remedy: "read the changes, then `callgate trust --yes`",
  });
}
