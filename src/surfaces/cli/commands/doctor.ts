import type { Command } from "commander";
import { DEFAULT_SETTINGS } from "../../../config/defaults.ts";
import { gatePaths, processPathInputs } from "../../../config/paths.ts";
import { findWorkspace } from "../../../config/workspace.ts";
import { GateError } from "../../../contract/errors.ts";
import { loadProject } from "../../../load-project.ts";
import { type CliContext, example, type GlobalOptions, globalOptions, projectOptions } from "../context.ts";
import type { Asked } from "../doctor/examine.ts";
import { printJson } from "../output.ts";

export function registerDoctor(program: Command, context: CliContext): void {
  const command = program
    .command("doctor")
    .summary("what this host can enforce, and the command that adds what is missing")
    .description(
      "Try what this host can enforce with every driver there is, in sandboxes built for the purpose; look at the state\nfolder and at programs that tools use. Says what to type for what is missing.\n\nExit code: 0 where tools of the low and medium tiers run here, 69 where they do not.",
    )
    .action(async (_options: object, self: Command) => {
      const globals = globalOptions(self);
      const { stateDir, root } = whereabouts(globals);
      const { examine } = await import("../doctor/examine.ts");
      const report = await examine(stateDir, root, await askedBy(globals));
      if (!report.usable) context.exitCode = new GateError("ERR_CONTROL_UNAVAILABLE", "").exitCode;
      if (globals.json === true) printJson(context.terminal, report);
      else context.terminal.out((await import("../doctor/report-text.ts")).reportText(report));
    });
  example(command, ["callgate doctor", "callgate doctor --json"]);
}

/** Without the check that the state folder lies outside: that is one of the findings. */
function whereabouts({ config, state }: GlobalOptions): { stateDir: string; root: string } {
  const inputs = processPathInputs(state);
  const { root } = findWorkspace({ ...inputs, config: config ?? process.env["CALLGATE_CONFIG"] });
  return { stateDir: gatePaths(inputs).stateDir, root };
}

/** What the project asks for, as far as it is in force; a project that cannot be read has its own errors. */
async function askedBy(globals: GlobalOptions): Promise<Asked> {
  const { sandbox } = await loadProject(projectOptions(globals)).then(
    ({ project }) => project.settings,
    () => DEFAULT_SETTINGS,
  );
  return { isolation: sandbox.isolation, docker: sandbox.docker };
}
