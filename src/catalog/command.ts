import { GateError } from "../contract/errors.ts";
import type { Json, JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { endsOptions } from "./programs.ts";
import { parseTemplate, type TemplatePart } from "./template.ts";

/** `MAX_ARG_STRLEN` of Linux: 32 pages for one argument, its closing NUL included (execve(2)). */
export const ARGUMENT_BYTES_MAX: number = 128 * 1024;
/** What Linux takes for arguments and environment together under the usual 8 MiB stack: a quarter of it. */
export const ARGV_BYTES_MAX: number = 2 * 1024 * 1024;
const POINTER_BYTES = 8;

/** What a call runs: the one thing a sandbox is given. */
export interface BuiltCommand {
  readonly argv: readonly string[];
  readonly stdin?: string;
}

function isScalar(value: Json): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/** The text of one scalar of the input, checked for what an argument cannot hold. */
function textOf(value: Json, field: string): string {
  if (!isScalar(value)) {
    throw new GateError(
      "ERR_INPUT_SCHEMA",
      `\`${field}\` is not text, a number or a boolean, and the command needs one`,
    );
  }
  const text = String(value);
  if (text.includes("\0"))
    throw new GateError("ERR_INPUT_SYNTAX", `\`${field}\` holds a NUL, which no argument can`);
  // Half a surrogate pair has no UTF-8: something else than what was judged would run.
  if (!text.isWellFormed()) {
    throw new GateError("ERR_INPUT_SYNTAX", `\`${field}\` holds half of a surrogate pair`);
  }
  return text;
}

function lookUp(input: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(input, name) ? input[name] : undefined;
}

/** One argument with its values in place; undefined when an optional of it is absent. */
function fill(parts: readonly TemplatePart[], input: JsonObject): string | undefined {
  let filled = "";
  for (const part of parts) {
    if (part.kind === "text") {
      filled += part.text;
      continue;
    }
    const value = lookUp(input, part.name);
    if (value === undefined) return undefined;
    filled += textOf(value, part.name);
  }
  return filled;
}

function spread(name: string, input: JsonObject): readonly string[] {
  const value = lookUp(input, name);
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    throw new GateError("ERR_INPUT_SCHEMA", `\`${name}\` is not a list, and the command needs one`);
  }
  return value.map((item: Json, index) => textOf(item, `${name}[${index}]`));
}

function refuseOption(field: string, text: string): never {
  throw new GateError(
    "ERR_INPUT_OPTION_LIKE",
    `\`${field}\` begins with \`-\`, so \`${text.slice(0, 80)}\` would be read as an option`,
    {
      remedy:
        "begin a path with `./`; or the manifest puts `--` before the value, or says `allowLeadingDash: true` under `run`",
    },
  );
}

function partsOf(template: string): readonly TemplatePart[] {
  const parsed = parseTemplate(template);
  // Manifests are checked when they are loaded, so this is a tool that did not come from one.
  if (!parsed.ok) throw new GateError("ERR_INTERNAL", parsed.message);
  return parsed.parts;
}

function build(
  command: readonly string[],
  index: number,
  input: JsonObject,
  mayBeOption: boolean,
): readonly string[] {
  const parts = partsOf(command[index] ?? "");
  const [first] = parts;
  if (first === undefined) return [""];
  const name = first.kind === "text" ? undefined : first.name;
  const built =
    first.kind === "spread"
      ? spread(first.name, input)
      : [fill(parts, input)].filter((text) => text !== undefined);
  if (name !== undefined && !mayBeOption && !endsOptions(command, index)) {
    const at = built.findIndex((text) => text.startsWith("-"));
    if (at >= 0) refuseOption(first.kind === "spread" ? `${name}[${at}]` : name, built[at] ?? "");
  }
  return built;
}

function checkSize(argv: readonly string[]): void {
  let total = 0;
  for (const argument of argv) {
    const bytes = Buffer.byteLength(argument) + 1;
    if (bytes > ARGUMENT_BYTES_MAX) {
      throw new GateError("ERR_INPUT_TOO_LARGE", "one argument of the command is larger than 128 KiB", {
        remedy: "pass the value through `stdin` or a file",
      });
    }
    total += bytes + POINTER_BYTES;
  }
  if (total > ARGV_BYTES_MAX) {
    throw new GateError("ERR_INPUT_TOO_LARGE", "the command's arguments are larger than 2 MiB together", {
      remedy: "pass the values through `stdin` or a file",
    });
  }
}

/**
 * Fills a tool's command from an input that fits its schema. Pure. A value stays within its argument whatever it
 * holds: `{name}` fills one argument or part of one, `{...names}` one per entry, and nothing is split or unquoted.
 * @throws GateError `ERR_INPUT_OPTION_LIKE`, `ERR_INPUT_TOO_LARGE`, `ERR_INPUT_SYNTAX` or `ERR_INPUT_SCHEMA`.
 */
export function buildCommand(tool: Pick<Tool, "run">, input: JsonObject): BuiltCommand {
  const { command, stdin, allowLeadingDash } = tool.run;
  const argv = command.flatMap((_, index) => build(command, index, input, allowLeadingDash));
  if (argv.length === 0) throw new GateError("ERR_INPUT_SCHEMA", "the command is empty");
  checkSize(argv);
  const fed = stdin === undefined ? undefined : fill(partsOf(stdin), input);
  return fed === undefined ? { argv } : { argv, stdin: fed };
}
