import { fstatSync } from "node:fs";
import { type Command, Option } from "commander";
import { ExecInput, type ExecRequest } from "../../../catalog/exec-input.ts";
import { parseDuration, parseSize } from "../../../config/units.ts";
import { GateError } from "../../../contract/errors.ts";
import { CPUS_MILLI_MAX, CPUS_MILLI_MIN, type Limits } from "../../../contract/profile.ts";
import { ISOLATION_CLASSES, type IsolationClass } from "../../../contract/tier.ts";
import { callOnce } from "../call.ts";
import { type CliContext, example } from "../context.ts";
import { checkNetOptions } from "../net-options.ts";
import { PRESETS, presetFor } from "../presets.ts";

interface ExecOptions {
  readonly isolation?: IsolationClass;
  readonly root?: string;
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly hide?: readonly string[];
  readonly staged?: boolean;
  readonly net?: readonly string[];
  readonly observe?: boolean;
  readonly allowAll?: boolean;
  readonly env?: readonly string[];
  readonly preset?: keyof typeof PRESETS;
  readonly tty?: boolean;
  readonly cwd?: string;
  readonly time?: string;
  readonly memory?: string;
  readonly processes?: string;
  readonly cpus?: string;
  readonly output?: string;
  readonly explainSeccomp?: boolean;
}

export function registerExec(program: Command, context: CliContext): void {
  const collect = (value: string, earlier: readonly string[] = []): readonly string[] => [...earlier, value];
  const command = program
    .command("exec")
    .summary("one command through all four stages")
    .description(
      "Run one command in a sandbox: the system's /usr, this folder to read, no network, nothing inherited.\nMore is opened by name.",
    )
    .addOption(new Option("--isolation <CLASS>", "at least this isolation").choices(ISOLATION_CLASSES))
    .option("--root <ROOT>", "root file system: host, folder:PATH, oci:PATH[@sha256:…], image:NAME@sha256:…")
    .option("--read <PATH>", "a path to read; may be given again", collect)
    .option("--write <PATH>", "a path to write; may be given again", collect)
    .option("--hide <PATH>", "a path to hide inside what is readable; may be given again", collect)
    .option("--staged", "write to a private copy, applied as a whole once the command has succeeded")
    .option(
      "--net <HOST[:PORT]>",
      "a host to reach, port 443 unless said; after commas private, tls, http, tcp, credential=NAME; may be given again",
      collect,
    )
    .option("--observe", "learn: refuse every other host, note hosts and files, print a manifest's part")
    .option("--allow-all", "with --observe: let it reach every host; the record says so")
    .option("--env <K[=V]>", "a variable; without a value this process's own; may be given again", collect)
    .addOption(
      new Option("--preset <NAME>", "files and variables a toolchain needs").choices(Object.keys(PRESETS)),
    )
    .option("--tty", "give the command this terminal (not in this version: refused)")
    .option("--cwd <DIR>", "the folder to start in")
    .option("--time <DURATION>", "wall time, such as 5m; 30s unless said")
    .option("--memory <SIZE>", "memory of the whole tree, such as 1GiB; 512MiB unless said")
    .option("--processes <N>", "processes and threads of the whole tree; 64 unless said")
    .option("--cpus <N>", "processors that the whole tree may use at a time, such as 0.5; 2 unless said")
    .option("--output <SIZE>", "standard output and error together, such as 4MiB; 1MiB unless said")
    .option("--explain-seccomp", "tell which system calls were refused, how often, and why")
    .argument("<CMD...>", "the command and its arguments, after `--`")
    .action(async (words: string[], options: ExecOptions, self: Command) => {
      const input = new ExecInput(execRequest(words, options));
      await callOnce(self, context, { tool: "callgate.exec", input }, passedInput());
    });
  example(command, [
    "callgate exec -- npm test",
    "callgate exec --write build --time 2m -- make",
    "callgate exec --net npm.example.com --write . --time 5m -- npm ci",
  ]);
}

function execRequest(command: readonly string[], options: ExecOptions): ExecRequest {
  refuseMissing(options);
  const preset = options.preset === undefined ? undefined : presetFor(options.preset);
  const limits = execLimits(options);
  return {
    command,
    read: [...(options.read ?? []), ...(preset?.read ?? [])],
    write: options.write ?? [],
    hide: options.hide ?? [],
    ...(options.staged === true ? { staged: true } : {}),
    hosts: checkNetOptions(options.net),
    ...(options.observe === true ? { observe: options.allowAll === true ? "allow" : "refuse" } : {}),
    environment: { ...preset?.environment, ...Object.fromEntries((options.env ?? []).map(variable)) },
    workingDirectory: options.cwd ?? process.cwd(),
    ...(options.isolation === undefined ? {} : { isolation: options.isolation }),
    ...(options.root === undefined ? {} : { root: options.root }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(options.explainSeccomp === true ? { explainSyscalls: true } : {}),
  };
}

/** Flags of the contract that a later version gives meaning to: refused by name, never ignored. */
function refuseMissing({ tty, observe, allowAll, staged, write }: ExecOptions): void {
  if (allowAll === true && observe !== true)
    throw new GateError("ERR_USAGE", "`--allow-all` is for a learning run", {
      remedy: "add `--observe`, or name the hosts with `--net`",
    });
  if (staged === true && write === undefined)
    throw new GateError("ERR_USAGE", "`--staged` has no meaning without `--write`", {
      remedy: "name what it may write with `--write`, or leave `--staged` away",
    });
  if (tty === true) {
    throw new GateError("ERR_CONTROL_UNAVAILABLE", "a terminal inside the sandbox is not in this version", {
      remedy: "run it without `--tty`; its output is passed on as it comes",
    });
  }
}

function execLimits({ time, memory, processes, cpus, output }: ExecOptions): Partial<Limits> {
  return {
    ...(time === undefined ? {} : { wallMs: parseDuration(time) }),
    ...(memory === undefined ? {} : { memoryBytes: parseSize(memory) }),
    ...(processes === undefined ? {} : { processes: wholeNumber(processes) }),
    ...(cpus === undefined ? {} : { cpusMilli: thousandths(cpus) }),
    ...(output === undefined ? {} : { outputBytes: parseSize(output) }),
  };
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text))
    throw new GateError("ERR_USAGE", `\`${text}\` is not a whole number above 0`);
  return Number(text);
}

/** Of processors, as they are counted inside. */
function thousandths(text: string): number {
  const milli = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1000) : 0;
  if (milli >= CPUS_MILLI_MIN && milli <= CPUS_MILLI_MAX) return milli;
  throw new GateError(
    "ERR_USAGE",
    `\`--cpus ${text}\` is not a number of processors from ${CPUS_MILLI_MIN / 1000} to ${CPUS_MILLI_MAX / 1000} with at most three decimals`,
    { remedy: "write it as `0.5` or `2`" },
  );
}

/** `K=V`, or `K` for this process's own value: named one by one, never all. */
function variable(pair: string): [string, string] {
  const equals = pair.indexOf("=");
  if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
  const value = process.env[pair];
  if (value === undefined) throw new GateError("ERR_USAGE", `there is no variable \`${pair}\` to pass on`);
  return [pair, value];
}

/** Standard input goes to the tool when it is a pipe or a file; a terminal's keys stay with the gate. */
function passedInput(): { readonly stdin?: NodeJS.ReadableStream } {
  const standard = fstatSync(0, { throwIfNoEntry: false });
  return standard?.isFIFO() || standard?.isFile() || standard?.isSocket() ? { stdin: process.stdin } : {};
}
