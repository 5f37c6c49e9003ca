import { basename } from "node:path";
import { parseTemplate } from "./template.ts";

/** Programs whose arguments or input are commands. */
const SHELLS: ReadonlySet<string> = new Set(
  "sh bash rbash dash ash zsh fish ksh ksh93 mksh yash csh tcsh elvish nu pwsh xonsh busybox toybox parallel watch".split(
    " ",
  ),
);

/** Programs that run code given by a flag: the letters of that flag. */
const INTERPRETERS: Readonly<Record<string, string>> = {
  node: "ep",
  nodejs: "ep",
  bun: "ep",
  deno: "",
  python: "c",
  pypy: "c",
  perl: "eE",
  ruby: "e",
  php: "rBRE",
  lua: "e",
  Rscript: "e",
};

const CODE_FLAGS: ReadonlySet<string> = new Set([
  "--eval",
  "--print",
  "--command",
  "--run",
  "--split-string",
  "eval",
]);

/** Wrappers that take a whole command line in one argument: the letter of that flag. */
const LINE_FLAGS: Readonly<Record<string, string>> = {
  env: "S",
  su: "c",
  runuser: "c",
  script: "c",
  flock: "c",
};

/** Programs that run the program their arguments name. */
const WRAPPERS: ReadonlySet<string> = new Set(
  "env nice ionice nohup timeout setsid stdbuf xargs find time chrt taskset flock script unshare nsenter chroot setpriv sudo doas su runuser strace ltrace npx".split(
    " ",
  ),
);

export interface CodeUse {
  /** The shell or interpreter. */
  readonly program: string;
  /** Index of the argument that is code, where it is one. */
  readonly argument: number | undefined;
}

/** `python3.12` and `/usr/bin/python3` are `python`. */
function programName(argument: string): string {
  const name = basename(argument);
  return name.replace(/^(python|pypy|perl|ruby|php|lua|node)[\d.]+$/, "$1");
}

function isCodeFlag(argument: string, letters: string): boolean {
  const [word = ""] = argument.split("=", 1);
  if (CODE_FLAGS.has(word)) return true;
  return letters !== "" && new RegExp(`^-[A-Za-z0-9]*[${letters}]`).test(argument);
}

function findProgram(command: readonly string[]): number {
  if (!WRAPPERS.has(programName(command[0] ?? ""))) return 0;
  // Too much rather than too little: any argument that names a shell counts as the wrapped program.
  return command.findIndex((argument) => {
    const name = programName(argument);
    return SHELLS.has(name) || Object.hasOwn(INTERPRETERS, name);
  });
}

/** `env -S "a b"`: a text that is split into a command, as a shell would. */
function findLineFlag(command: readonly string[]): CodeUse | undefined {
  const program = programName(command[0] ?? "");
  const letters = Object.hasOwn(LINE_FLAGS, program) ? LINE_FLAGS[program] : undefined;
  if (letters === undefined) return undefined;
  const flag = command.findIndex((argument, index) => index > 0 && isCodeFlag(argument, letters));
  // What follows the wrapped program's name is for that program: `env rg -S x`.
  const wrapped = command.findIndex((argument, index) => index > 0 && !/^-|=/.test(argument));
  if (flag < 0 || (program === "env" && wrapped >= 0 && wrapped < flag)) return undefined;
  return { program, argument: codeAfter(command, flag) };
}

/** `-c` takes the next argument; `-cprint(1)` and `--eval=1` carry the code themselves. */
function codeAfter(command: readonly string[], flag: number): number {
  const text = command[flag] ?? "";
  return text.includes("=") || /[{(\s]/.test(text) ? flag : flag + 1;
}

/**
 * Whether a command runs code that stands in its arguments or its input: a shell, or an interpreter with `-c` or `-e`.
 * Such a tool is bounded by its profile alone, so it cannot be of the low tier.
 */
export function findCodeUse(command: readonly string[], feedsInput: boolean): CodeUse | undefined {
  const line = findLineFlag(command);
  if (line !== undefined) return line;
  const at = findProgram(command);
  const program = programName(command[at] ?? "");
  const isShell = SHELLS.has(program);
  const letters = isShell ? "c" : Object.hasOwn(INTERPRETERS, program) ? INTERPRETERS[program] : undefined;
  if (at < 0 || letters === undefined) return undefined;
  const flag = command.findIndex((argument, index) => index > at && isCodeFlag(argument, letters));
  if (flag < 0) return isShell || feedsInput ? { program, argument: undefined } : undefined;
  return { program, argument: codeAfter(command, flag) };
}

/**
 * Whether a literal `--` before `index` ends the options of the program that will read the argument there. After a
 * wrapper such as `env`, one that stands before the wrapped program's name is the wrapper's own.
 */
export function endsOptions(command: readonly string[], index: number): boolean {
  const isWrapped = WRAPPERS.has(programName(command[0] ?? ""));
  return command.slice(0, index).some((argument, position) => {
    if (argument !== "--") return false;
    return !isWrapped || command.slice(1, position).some((earlier) => /^[A-Za-z./][^=]*$/.test(earlier));
  });
}

/** Whether an argument is nothing but literal text. */
export function isLiteral(argument: string): boolean {
  const parsed = parseTemplate(argument);
  return parsed.ok && parsed.parts.every((part) => part.kind === "text");
}
