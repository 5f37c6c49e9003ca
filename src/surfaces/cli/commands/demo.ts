import type { Command } from "commander";
import { ERRORS } from "../../../contract/errors.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { play } from "../demo/play.ts";
import { Screen } from "../demo/screen.ts";
import { openStage } from "../demo/stage.ts";
import { elapsedMs, Interrupted } from "../demo/step.ts";
import { sumUp } from "../demo/summary.ts";
import { printJson } from "../output.ts";

interface DemoOptions {
  readonly keep?: string;
}

/** What a shell says of a program that a signal ended: 128 and its number. */
const INTERRUPTED: Readonly<Partial<Record<NodeJS.Signals, number>>> = {
  SIGINT: 130,
  SIGTERM: 143,
  SIGHUP: 129,
};

export function registerDemo(program: Command, context: CliContext): void {
  const command = program
    .command("demo")
    .summary("twenty seconds of what the gate does, with no configuration")
    .description(
      "Call real tools in a copy of a small project: permitted, refused, confined, and proven.\nIt has a state folder of its own (`--state` and `--config` change nothing) and leaves nothing behind.",
    )
    .option("--keep <DIR>", "a folder to be made for it, which stays: look around afterwards")
    .action(async (options: DemoOptions, self: Command) => {
      await demo(options, self, context);
    });
  example(command, ["callgate demo", "callgate demo --keep /tmp/look"]);
}

async function demo({ keep }: DemoOptions, command: Command, context: CliContext): Promise<void> {
  const { json, quiet } = globalOptions(command);
  const started = performance.now();
  const abort = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    context.exitCode = INTERRUPTED[signal] ?? 130;
    abort.abort();
  };
  const signals = Object.keys(INTERRUPTED) as NodeJS.Signals[];
  for (const signal of signals) process.on(signal, onSignal);
  const screen = json === true || quiet === true ? undefined : new Screen(context.terminal);
  try {
    using stage = openStage(keep);
    screen?.text(screen.paint("bold", "A ferry's timetable, six tools, and some who should know better."));
    const findings = await play({ stage, screen, signal: abort.signal });
    const summary = sumUp(findings, elapsedMs(started), stage);
    if (json === true) printJson(context.terminal, summary);
    else screen?.summary(summary);
    if (!summary.ok) context.exitCode = ERRORS.ERR_INTERNAL.exit;
  } catch (error) {
    screen?.clear();
    if (!(error instanceof Interrupted || abort.signal.aborted)) throw error;
    screen?.text(
      `\nstopped; ${keep === undefined ? "nothing is left behind" : `what there is stays in ${keep}`}`,
    );
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}
