import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import type { Command } from "commander";
import { GateError } from "../../../contract/errors.ts";
import { callOnce } from "../call.ts";
import { type CliContext, example } from "../context.ts";

interface RunOptions {
  readonly input?: string;
  readonly arg?: readonly string[];
}

export function registerRun(program: Command, context: CliContext): void {
  const command = program
    .command("run")
    .summary("one catalogued tool through all four stages")
    .description("Run one tool of the catalogue: judged, entitled, confined and recorded.")
    .argument("<TOOL>", "the tool's name; `callgate tools list` shows what there is")
    .option("--input <JSON|@FILE|->", "the input: JSON, a file that holds it, or standard input")
    .option("--arg <k=v...>", "one member of the input; JSON where it parses as such, else text")
    .action(async (tool: string, options: RunOptions, self: Command) => {
      await callOnce(self, context, { tool, input: await readInput(options) });
    });
  example(command, [
    "callgate run repo.search --arg pattern=TODO",
    'callgate run repo.search --input \'{"pattern":"TODO"}\' --json',
  ]);
}

/** The input as text, so that the gate sees what was written: duplicate keys, long integers and all. */
export async function readInput({ input, arg = [] }: RunOptions): Promise<string> {
  if (input !== undefined && arg.length > 0)
    throw new GateError("ERR_USAGE", "`--input` and `--arg` exclude each other");
  if (input === "-") return (await buffer(process.stdin)).toString("utf8");
  if (input?.startsWith("@")) return readFile(input.slice(1));
  if (input !== undefined) return input;
  return `{${arg.map(member).join(",")}}`;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be read`, {
      cause,
      remedy: "check the path after `@`",
    });
  }
}

function member(pair: string): string {
  const equals = pair.indexOf("=");
  if (equals < 1) throw new GateError("ERR_USAGE", `\`${pair}\` is not of the form name=value`);
  const value = pair.slice(equals + 1);
  return `${JSON.stringify(pair.slice(0, equals))}:${isJson(value) ? value : JSON.stringify(value)}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
