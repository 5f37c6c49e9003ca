import { existsSync, globSync, lstatSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { gatePaths, processPathInputs } from "../../../config/paths.ts";
import type { Snapshot } from "../../../config/snapshot.ts";
import { checkStateOutside } from "../../../config/workspace.ts";
import { GateError } from "../../../contract/errors.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { inspectProject } from "../inspect-project.ts";
import { printJson, speaking } from "../output.ts";

/** What a project names beside its configuration: a file that lies there already would be trusted unread. */
const NAMED_BY_TEMPLATE = ["tools/*.yaml", "policies/*.cedar", "policies/tests/*.yaml", "callgate.lock"];

const NEXT = [
  "callgate run repo.search --arg pattern=callgate",
  "callgate check note.write --arg path=src/main.ts --arg text=hello",
];

export function registerInit(program: Command, context: CliContext): void {
  const command = program
    .command("init")
    .summary("write a commented callgate.yaml, tools and policies, and trust them")
    .description(
      "Write a commented callgate.yaml, tools/ and policies/ with policy tests, and trust what was written.\nNothing that exists is written over.",
    )
    .argument("[DIR]", "the project's folder; made where it is not there", ".")
    .action(async (dir: string, _options: object, self: Command) => {
      await init(dir, self, context);
    });
  example(command, ["callgate init", "callgate init my-project"]);
}

async function init(dir: string, command: Command, context: CliContext): Promise<void> {
  const globals = globalOptions(command);
  if (globals.config !== undefined)
    throw new GateError("ERR_USAGE", "`--config` has no meaning here", {
      remedy: "name the folder: `callgate init DIR`",
    });
  const { root, stateDir } = openFolder(dir, globals.state);
  const { projectTemplate } = await import("../templates/project.ts");
  const files = projectTemplate();
  refuseExisting(root, [...files.keys()]);
  // Before the project: where no record can be kept, nothing is written at all.
  const verifierKey = await createRecord(stateDir);
  for (const [path, text] of files) writeNew(join(root, path), text);
  await trustWritten(root, stateDir, files);
  const terminal = speaking(context, globals);
  const written = [...files.keys()];
  if (globals.json === true) {
    printJson(terminal, { root, written, trusted: true, verifierKey, next: NEXT });
    return;
  }
  context.terminal.out(written.map((path) => `${path}\n`).join(""));
  terminal.err(
    `${terminal.paint("green", "✓ written and trusted")}  the record is in ${stateDir}\n\nTry:\n${NEXT.map((line) => `  ${dir === "." ? "" : `(cd ${dir} && `}${line}${dir === "." ? "" : ")"}\n`).join("")}`,
  );
}

function openFolder(dir: string, state: string | undefined): { root: string; stateDir: string } {
  const inputs = processPathInputs(state);
  const folder = resolve(dir);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new GateError("ERR_USAGE", `the folder \`${folder}\` cannot be made`, {
      cause,
      remedy: "name another folder",
    });
  }
  const root = realpathSync(folder);
  if (inputs.home !== undefined && existsSync(inputs.home) && root === realpathSync(inputs.home)) {
    throw new GateError(
      "ERR_USAGE",
      "the home folder cannot be a project: every secret of yours lies in it",
      {
        remedy: "name a folder: `callgate init DIR`",
      },
    );
  }
  return { root, stateDir: checkStateOutside(gatePaths(inputs).stateDir, root) };
}

/** @throws GateError `ERR_USAGE` listing everything that is in the way. */
function refuseExisting(root: string, paths: readonly string[]): void {
  const found = new Set(paths.filter((path) => isThere(join(root, path))));
  for (const path of globSync(NAMED_BY_TEMPLATE, { cwd: root })) found.add(path);
  // Writing through a link would write outside of the project.
  for (const folder of new Set(paths.map((path) => dirname(path)))) {
    if (isThere(join(root, folder)) && !lstatSync(join(root, folder)).isDirectory()) found.add(folder);
  }
  if (found.size === 0) return;
  const listed = [...found]
    .sort()
    .map((path) => `\`${path}\``)
    .join(", ");
  throw new GateError("ERR_USAGE", `nothing was written: there is already ${listed}`, {
    remedy: found.has("callgate.yaml")
      ? "this is a project already: read it, then `callgate trust`"
      : "move it away, or name another folder: `callgate init DIR`",
  });
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function createRecord(stateDir: string): Promise<string> {
  const { openLog } = await import("../../../audit/log.ts");
  await using log = await openLog({ stateDir, mode: "inline" });
  return log.verifierKey;
}

function writeNew(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { flag: "wx" });
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be written`, {
      cause,
      remedy: "make the folder writable, or name another: `callgate init DIR`",
    });
  }
}

/** Pins what was written and nothing else: a file put there in between is left for `callgate trust` to show. */
export async function trustWritten(
  root: string,
  stateDir: string,
  files: ReadonlyMap<string, string>,
): Promise<void> {
  const { snapshotProject } = await import("../../../config/snapshot.ts");
  const snapshot: Snapshot = snapshotProject(root, "callgate.yaml");
  const strange = [...snapshot.files].find(([path, text]) => files.get(path) !== text);
  if (strange !== undefined) {
    throw new GateError("ERR_CONFIG_UNTRUSTED", `\`${strange[0]}\` is not as it was just written`, {
      remedy: "read the files, then `callgate trust`",
    });
  }
  await inspectProject(snapshot);
  (await import("../../../config/trust.ts")).trustProject(snapshot, stateDir);
}
