import { GateError } from "../../contract/errors.ts";
import { isJsonObject, type JsonObject } from "../../contract/json.ts";

/** Architectures a program can be compiled for. */
export type SeccompArch = "x86-64" | "arm64";

const ACTIONS = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
] as const;
/** `SCMP_ACT_NOTIFY` is absent: it needs a supervisor on a listening descriptor, which no driver of ours has. */
export type Action = (typeof ACTIONS)[number];

const OPERATORS = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
] as const;
export type Operator = (typeof OPERATORS)[number];

/** One comparison of an unsigned 64-bit argument. */
export interface ArgumentTest {
  /** 0 to 5. */
  readonly index: number;
  /** What is compared with; for `SCMP_CMP_MASKED_EQ` the mask. */
  readonly value: number;
  /** Only for `SCMP_CMP_MASKED_EQ`: what the masked argument must equal; bits outside the mask do not count. */
  readonly valueTwo?: number;
  readonly op: Operator;
}

/** Docker's conditions on a whole entry. */
export interface EntryFilter {
  readonly caps?: readonly string[];
  /** Go's names: `amd64`, `arm64`, … */
  readonly arches?: readonly string[];
  /** `MAJOR.MINOR`. */
  readonly minKernel?: string;
}

export interface SyscallEntry {
  readonly names: readonly string[];
  readonly action: Action;
  /** Up to 4094, for `SCMP_ACT_ERRNO`; the message for `SCMP_ACT_TRACE`. EPERM when absent. */
  readonly errnoRet?: number;
  /** All must hold. Absent or empty: the entry holds whatever the arguments. */
  readonly args?: readonly ArgumentTest[];
  readonly comment?: string;
  readonly includes?: EntryFilter;
  readonly excludes?: EntryFilter;
}

/** `linux.seccomp` of the OCI runtime specification (config-linux.md), with what Docker's own files add. */
export interface SeccompProfile {
  readonly defaultAction: Action;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly syscalls: readonly SyscallEntry[];
}

/**
 * Reads a profile strictly: a misspelt key in a security profile must not silently allow or deny. By hand, because a
 * schema library would take longer to load than the whole compilation.
 *
 * @throws GateError `ERR_CONFIG_INVALID` naming the key or value and where it stands.
 */
export function parseSeccompProfile(value: unknown): SeccompProfile {
  const profile = objectAt(value, "profile");
  // `archMap` is Docker's template for `architectures`. Both are read for their form only: a program serves the one
  // architecture it is compiled for and kills every other ABI, whatever the profile adds.
  knownKeys(
    profile,
    ["defaultAction", "defaultErrnoRet", "architectures", "archMap", "flags", "syscalls"],
    "profile",
  );
  const { defaultErrnoRet, architectures, archMap, flags } = profile;
  if (archMap !== undefined) parseArchMap(archMap);
  if (flags !== undefined && stringsAt(flags, "flags").length > 0) {
    throw invalid("flags", "filter flags belong to whoever loads the program and cannot be compiled");
  }
  const defaultAction = oneOf(ACTIONS, profile["defaultAction"], "defaultAction");
  return {
    defaultAction,
    ...(defaultErrnoRet !== undefined && {
      defaultErrnoRet: errnoAt(defaultErrnoRet, defaultAction, "defaultErrnoRet"),
    }),
    ...(architectures !== undefined && { architectures: stringsAt(architectures, "architectures") }),
    syscalls: arrayAt(profile["syscalls"], "syscalls").map((entry, at) =>
      parseEntry(entry, `syscalls[${at}]`),
    ),
  };
}

const ENTRY_KEYS = ["names", "action", "errnoRet", "args", "comment", "includes", "excludes"];

function parseEntry(value: unknown, where: string): SyscallEntry {
  const entry = objectAt(value, where);
  knownKeys(entry, ENTRY_KEYS, where);
  const { errnoRet, args, comment, includes, excludes } = entry;
  const names = stringsAt(entry["names"], `${where}.names`);
  if (names.length === 0) throw invalid(`${where}.names`, "is empty");
  const action = oneOf(ACTIONS, entry["action"], `${where}.action`);
  if (comment !== undefined && typeof comment !== "string")
    throw invalid(`${where}.comment`, "is not a string");
  return {
    names,
    action,
    ...(errnoRet !== undefined && { errnoRet: errnoAt(errnoRet, action, `${where}.errnoRet`) }),
    ...(args !== undefined && { args: parseTests(args, `${where}.args`) }),
    ...(comment !== undefined && { comment }),
    ...(includes !== undefined && { includes: parseFilter(includes, `${where}.includes`) }),
    ...(excludes !== undefined && { excludes: parseFilter(excludes, `${where}.excludes`) }),
  };
}

function parseTests(value: unknown, where: string): ArgumentTest[] {
  const tests = arrayAt(value, where).map((test, at) => parseTest(test, `${where}[${at}]`));
  // libseccomp refuses such a rule and runc turns it into alternatives, so its meaning depends on who reads it.
  if (new Set(tests.map((test) => test.index)).size !== tests.length) {
    throw invalid(where, "compares one argument twice; write separate entries or one masked comparison");
  }
  return tests;
}

function parseTest(value: unknown, where: string): ArgumentTest {
  const test = objectAt(value, where);
  knownKeys(test, ["index", "value", "valueTwo", "op"], where);
  const op = oneOf(OPERATORS, test["op"], `${where}.op`);
  const index = integerAt(test["index"], `${where}.index`, 5);
  const operand = integerAt(test["value"], `${where}.value`, Number.MAX_SAFE_INTEGER);
  const second = integerAt(test["valueTwo"] ?? 0, `${where}.valueTwo`, Number.MAX_SAFE_INTEGER);
  // Readers disagree on whether such a test counts as one: libseccomp drops it.
  if (op === "SCMP_CMP_MASKED_EQ" && operand === 0)
    throw invalid(`${where}.value`, "a mask of 0 tests nothing");
  if (op === "SCMP_CMP_MASKED_EQ") return { index, value: operand, valueTwo: second, op };
  if (second !== 0) throw invalid(`${where}.valueTwo`, "means something only with `SCMP_CMP_MASKED_EQ`");
  return { index, value: operand, op };
}

function parseFilter(value: unknown, where: string): EntryFilter {
  const filter = objectAt(value, where);
  knownKeys(filter, ["caps", "arches", "minKernel"], where);
  const { caps, arches, minKernel } = filter;
  if (minKernel !== undefined && (typeof minKernel !== "string" || !/^\d{1,4}\.\d{1,4}$/.test(minKernel))) {
    throw invalid(`${where}.minKernel`, "is not MAJOR.MINOR");
  }
  return {
    ...(caps !== undefined && { caps: stringsAt(caps, `${where}.caps`) }),
    ...(arches !== undefined && { arches: stringsAt(arches, `${where}.arches`) }),
    ...(minKernel !== undefined && { minKernel }),
  };
}

function parseArchMap(value: unknown): void {
  for (const [at, item] of arrayAt(value, "archMap").entries()) {
    const where = `archMap[${at}]`;
    const entry = objectAt(item, where);
    knownKeys(entry, ["architecture", "subArchitectures"], where);
    if (typeof entry["architecture"] !== "string") throw invalid(`${where}.architecture`, "is not a string");
    const below = entry["subArchitectures"];
    // Docker writes null where an architecture has no others below it.
    if (below !== undefined && below !== null) stringsAt(below, `${where}.subArchitectures`);
  }
}

function errnoAt(value: unknown, action: Action, where: string): number {
  if (action !== "SCMP_ACT_ERRNO" && action !== "SCMP_ACT_TRACE") {
    throw invalid(where, `has no meaning for \`${action}\``);
  }
  // libseccomp takes errnos below MAX_ERRNO, 4095; above it the kernel would answer another than was asked for.
  return integerAt(value, where, action === "SCMP_ACT_TRACE" ? 0xffff : 4094);
}

function integerAt(value: unknown, where: string, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw invalid(where, `\`${String(value)}\` is not an integer between 0 and ${max}`);
}

function oneOf<Name extends string>(names: readonly Name[], value: unknown, where: string): Name {
  const found = names.find((name) => name === value);
  if (found === undefined)
    throw invalid(where, `\`${String(value)}\` is not supported`, `one of ${names.join(", ")}`);
  return found;
}

function stringsAt(value: unknown, where: string): string[] {
  return arrayAt(value, where).map((item, at) => {
    if (typeof item !== "string") throw invalid(`${where}[${at}]`, "is not a string");
    return item;
  });
}

function arrayAt(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(where, "is not an array");
  return value;
}

function objectAt(value: unknown, where: string): JsonObject {
  if (!isJsonObject(value)) throw invalid(where, "is not an object");
  return value;
}

function knownKeys(object: JsonObject, known: readonly string[], where: string): void {
  for (const key of Object.keys(object)) {
    if (!known.includes(key))
      throw invalid(where, `unknown key \`${key}\``, `keys here: ${known.join(", ")}`);
  }
}

function invalid(where: string, why: string, remedy?: string): GateError {
  return new GateError(
    "ERR_CONFIG_INVALID",
    `seccomp profile: ${where}: ${why}`,
    remedy === undefined ? {} : { remedy },
  );
}
