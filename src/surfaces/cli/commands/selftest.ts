import { constants } from "node:os";
import { type Command, Option } from "commander";
import { GateError } from "../../../contract/errors.ts";
import { ISOLATION_CLASSES, type IsolationClass } from "../../../contract/tier.ts";
import { loadProject } from "../../../load-project.ts";
import type { Progress, SelftestOptions } from "../../../selftest/run.ts";
import { type CliContext, example, globalOptions, projectOptions } from "../context.ts";
import { printJson, speaking } from "../output.ts";
import { harmless, type Terminal } from "../terminal.ts";

/** Each ends it after the probes under way, with everything cleaned up. */
const CANCELLING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

interface Options {
  readonly isolation?: IsolationClass;
  readonly driver?: string;
  readonly only?: string;
}

export function registerSelftest(program: Command, context: CliContext): void {
  const command = program
    .command("selftest")
    .summary("try to escape from every sandbox this host has, probe by probe")
    .description(
      "Run programs that try to get past a profile in every sandbox this host has, each with a control outside that shows\nit would have succeeded there; and programs that have to work inside. Touches nothing but a temporary folder.\nExits 0 where all hold and work, else 1.",
    )
    .addOption(new Option("--isolation <CLASS>", "only this class").choices(ISOLATION_CLASSES))
    .option("--driver <NAME>", "only this driver")
    .option("--only <WORDS>", "only probes whose name holds these words, such as `links.`")
    .action(async (options: Options, self: Command) => {
      const globals = globalOptions(self);
      const terminal = speaking(context, globals);
      const { holds, runSelftest } = await import("../../../selftest/run.ts");
      const { asText, conclusion, totals } = await import("../selftest-report.ts");
      const cancel = new AbortController();
      for (const signal of CANCELLING) process.once(signal, () => cancel.abort(signal));
      const { project } = await loadProject(projectOptions(globals));
      const results = await runSelftest({
        host: { docker: project.settings.sandbox.docker },
        ...(await selection(options)),
        show: harmless,
        onProgress: (progress) => showProgress(terminal, progress),
        signal: cancel.signal,
      }).catch((error: unknown) => cancelled(context, error));
      if (results === undefined) return;
      const held = holds(results);
      context.exitCode = held ? 0 : 1;
      if (globals.json === true) {
        printJson(terminal, { held, drivers: results.map((one) => ({ ...one, totals: totals(one) })) });
        return;
      }
      context.terminal.out(asText(results));
      terminal.err(`${terminal.paint(held ? "green" : "red", held ? "✓" : "✗")} ${conclusion(results)}\n`);
    });
  example(command, ["callgate selftest", "callgate selftest --driver bubblewrap --only network. --json"]);
}

/** @throws GateError `ERR_USAGE` where there is no such probe. */
async function selection({ isolation, driver, only }: Options): Promise<Omit<SelftestOptions, "show">> {
  const [{ PROBES }, { USABILITY }] = await Promise.all([
    import("../../../selftest/probes.ts"),
    import("../../../selftest/usability.ts"),
  ]);
  const matches = (one: { readonly id: string }): boolean => only === undefined || one.id.includes(only);
  const [probes, usability] = [PROBES.filter(matches), USABILITY.filter(matches)];
  if (probes.length + usability.length === 0) {
    throw new GateError("ERR_USAGE", `no probe's name holds \`${only}\``, {
      remedy: "docs/selftest.md lists every probe",
    });
  }
  const wanted = (name: string, offered: IsolationClass): boolean =>
    (driver === undefined || name === driver) && (isolation === undefined || offered === isolation);
  return { wanted, probes, usability };
}

/** Nothing is told of half a selftest. */
function cancelled(context: CliContext, error: unknown): undefined {
  const signal = CANCELLING.find((name) => name === error);
  if (signal === undefined) throw error;
  context.exitCode = 128 + constants.signals[signal];
}

/** One line that is written over, where somebody watches. */
function showProgress(terminal: Terminal, { driver, done, all }: Progress): void {
  if (!process.stderr.isTTY) return;
  terminal.err(done === all ? "\r\u001b[K" : `\r${driver}: ${done} of ${all}\u001b[K`);
}
