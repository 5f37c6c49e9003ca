import { GateError } from "../contract/errors.ts";
import { deepFreeze, type JsonObject } from "../contract/json.ts";
import { CPUS_MILLI_MAX, CPUS_MILLI_MIN, DEFAULT_LIMITS, type Limits } from "../contract/profile.ts";
import { parseRoot } from "../contract/root.ts";
import type { IsolationClass } from "../contract/tier.ts";

/** What `callgate exec` was asked for, from the command line or the library. */
export interface ExecRequest {
  readonly command: readonly string[];
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly hide?: readonly string[];
  /** What it writes goes to a private copy, applied when the command has succeeded. */
  readonly staged?: boolean;
  /** Hosts it reaches: see `parseNetText`. */
  readonly hosts?: readonly string[];
  /** A learning run: its files and hosts are noted. `refuse`: no other host is reached; `allow`: every one is. */
  readonly observe?: "refuse" | "allow";
  /** Names and values; policy and the record see the names. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly isolation?: IsolationClass;
  /** `host`, `folder:PATH`, `oci:PATH[@sha256:…]`, `image:NAME@sha256:…`; unset: what the project says. */
  readonly root?: string;
  readonly workingDirectory?: string;
  readonly limits?: Partial<Limits>;
  /** Tell which system calls were refused, and why. Opens nothing, so policy is not asked about it. */
  readonly explainSyscalls?: boolean;
}

import { checkRules } from "./network-rule.ts";
import { parseNetText } from "./network-text.ts";

const PATHS_MAX = 256;
const PATH_LENGTH_MAX = 4096;
const VARIABLES_MAX = 256;
const ARGUMENTS_MAX = 65_536;
const PROCESSES_MAX = 32_768;
const OPEN_FILES_MAX = 1_048_576;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,255}$/;

/**
 * Input for the built-in tool, checked by hand to the schema's bounds so that a one-shot command need not load a
 * schema compiler; a property test holds the two together. Only its constructor makes one.
 */
export class ExecInput {
  /** What policy judges. */
  readonly value: JsonObject;
  /** What goes into the profile beside it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly explainSyscalls: boolean;
  readonly command: readonly string[];
  readonly #checked = true;

  /** @throws GateError `ERR_USAGE`, `ERR_INPUT_SYNTAX` naming the part that does not fit. */
  constructor(request: ExecRequest) {
    const { command, environment = {} } = request;
    if (command.length === 0) throw usage("there is no command to run", "write it after `--`");
    if (command.length > ARGUMENTS_MAX) throw usage(`a command has at most ${ARGUMENTS_MAX} arguments`);
    for (const text of [...command, ...Object.values(environment)]) checkText(text);
    const files = {
      read: checkPaths(request.read),
      write: checkPaths(request.write),
      hide: checkPaths(request.hide),
      ...(request.staged === true ? { staged: true } : {}),
    };
    const hosts = checkHosts(request.hosts);
    this.command = [...command];
    this.explainSyscalls = request.explainSyscalls === true;
    this.environment = Object.freeze({ ...environment });
    this.value = deepFreeze({
      command: [...command],
      files,
      network: hosts.length > 0 || request.observe !== undefined ? "names" : "none",
      ...(hosts.length > 0 ? { hosts } : {}),
      ...(request.observe === undefined ? {} : { observe: request.observe }),
      ...(request.isolation === undefined ? {} : { isolation: request.isolation }),
      ...(request.root === undefined ? {} : { root: checkRoot(request.root) }),
      ...(request.workingDirectory === undefined ? {} : { cwd: request.workingDirectory }),
      environment: checkVariables(Object.keys(environment)),
      limits: checkLimits(request.limits ?? {}),
    });
  }

  static is(value: unknown): value is ExecInput {
    return typeof value === "object" && value !== null && #checked in value;
  }
}

function checkPaths(paths: readonly string[] = []): readonly string[] {
  if (paths.length > PATHS_MAX) throw usage(`at most ${PATHS_MAX} paths can be granted`);
  for (const path of paths) {
    if (path === "" || path.length > PATH_LENGTH_MAX) throw usage("a path is empty or too long");
    checkText(path);
  }
  return [...paths];
}

/** @returns them as they were given: policy judges what they mean. */
function checkHosts(hosts: readonly string[] = []): readonly string[] {
  for (const text of hosts) checkText(text);
  checkRules(hosts.map(parseNetText));
  return [...hosts];
}

/** @returns it as it was given: policy judges the text, the profile what it means here. */
function checkRoot(text: string): string {
  parseRoot(text);
  checkText(text);
  return text;
}

function checkVariables(names: readonly string[]): readonly string[] {
  if (names.length > VARIABLES_MAX) throw usage(`at most ${VARIABLES_MAX} variables can be passed`);
  for (const name of names) if (!VARIABLE.test(name)) throw usage(`\`${name}\` is not a variable's name`);
  return names;
}

function checkLimits(limits: Partial<Limits>): JsonObject {
  for (const [name, value] of Object.entries(limits)) {
    const least = name === "cpusMilli" ? CPUS_MILLI_MIN : 1;
    if (!(name in DEFAULT_LIMITS) || !Number.isSafeInteger(value) || value < least || value > most(name)) {
      throw usage(`the limit \`${name}\` has to be a whole number from ${least} to ${most(name)}`);
    }
  }
  return { ...limits } as JsonObject;
}

/** The kernel counts no more processes than this; a size or a time is bounded by what a number can hold. */
function most(name: string): number {
  const counted: Readonly<Record<string, number>> = {
    processes: PROCESSES_MAX,
    openFiles: OPEN_FILES_MAX,
    cpusMilli: CPUS_MILLI_MAX,
  };
  return counted[name] ?? Number.MAX_SAFE_INTEGER;
}

/** A NUL would end an argument early, and a lone surrogate has no bytes. */
function checkText(text: string): void {
  if (text.includes("\0")) throw new GateError("ERR_INPUT_SYNTAX", "an argument holds a NUL");
  if (!text.isWellFormed()) throw new GateError("ERR_INPUT_SYNTAX", "an argument is not Unicode");
}

function usage(message: string, remedy?: string): GateError {
  return new GateError("ERR_USAGE", message, remedy === undefined ? {} : { remedy });
}
