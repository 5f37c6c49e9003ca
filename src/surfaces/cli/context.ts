import type { Command } from "commander";
import type { ProjectOptions } from "../../load-project.ts";
import type { Terminal } from "./terminal.ts";

/** What every command is given. */
export interface CliContext {
  readonly terminal: Terminal;
  /** Set by a command; what the process exits with. */
  exitCode: number;
}

export interface GlobalOptions {
  readonly config?: string;
  readonly state?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** The global flags as they stand for `command`, wherever on the line they were written. */
export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

/** Where the project and the state are, by the global flags and the environment. */
export function projectOptions({ config, state }: GlobalOptions): ProjectOptions {
  return { config, state };
}

/** One command: adds itself, its flags and its example to the program. */
export type Register = (program: Command, context: CliContext) => void;

/** An example for `--help`: the command line, and what it does. */
export function example(command: Command, lines: readonly string[]): Command {
  return command.addHelpText("after", `\nExample:\n${lines.map((line) => `  ${line}\n`).join("")}`);
}
