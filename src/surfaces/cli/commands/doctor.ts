import type { Command } from "commander";
import { gatePaths, processPathInputs } from "../../../config/paths.ts";
import { findWorkspace } from "../../../config/workspace.ts";
import { GateError } from "../../../contract/errors.ts";
import { type CliContext, example, type GlobalOptions, globalOptions } from "../context.ts";
import type { Finding } from "../doctor/finding.ts";
import { labelled, paint, printJson, speaking } from "../output.ts";
import { visible } from "../terminal.ts";

export function registerDoctor(program: Command, context: CliContext): void {
  const command = program
    .command("doctor")
    .summary("what this host can enforce, and the command that adds what is missing")
    .description(
      "Try what this host can enforce, control by control, in a sandbox built for the purpose; look at the state folder\nand at programs that tools use. Exits 0 where tools of the low and medium tiers can run, else 69.",
    )
    .action(async (_options: object, self: Command) => {
      const globals = globalOptions(self);
      const { stateDir, root } = whereabouts(globals);
      const { examine } = await import("../doctor/examine.ts");
      const findings = await examine(stateDir, root);
      const usable = isUsable(findings);
      if (!usable) context.exitCode = new GateError("ERR_CONTROL_UNAVAILABLE", "").exitCode;
      if (globals.json === true) {
        printJson(context.terminal, { usable, findings });
        return;
      }
      context.terminal.out(asText(findings));
      const terminal = speaking(context, globals);
      terminal.err(
        usable
          ? `${terminal.paint("green", "✓")} tools of the low and medium tiers can run on this host\n`
          : `${terminal.paint("red", "✗")} no tool can run on this host as it is\n`,
      );
    });
  example(command, ["callgate doctor", "callgate doctor --json"]);
}

/** Without the check that the state folder lies outside: that is one of the findings. */
function whereabouts({ config, state }: GlobalOptions): { stateDir: string; root: string } {
  const inputs = processPathInputs(state);
  const { root } = findWorkspace({ ...inputs, config: config ?? process.env["CALLGATE_CONFIG"] });
  return { stateDir: gatePaths(inputs).stateDir, root };
}

function isUsable(findings: readonly Finding[]): boolean {
  return findings
    .filter(({ group, name }) => group === "tiers" && (name === "low" || name === "medium"))
    .every(({ state }) => state === "ok");
}

function asText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  let text = "";
  let last = "";
  for (const { group, name, state, detail, remedy } of findings) {
    if (group !== last) text += `${last === "" ? "" : "\n"}${paint("bold", group)}\n`;
    last = group;
    const mark = { ok: paint("green", "✓"), missing: paint("red", "✗"), later: paint("dim", "–") }[state];
    text += `  ${mark} ${name.padEnd(width)}  ${visible(detail)}\n`;
    if (remedy !== undefined) text += `    ${" ".repeat(width)}${labelled("fix", remedy)}`;
  }
  return `${text}\n`;
}
