import { GateError } from "../../contract/errors.ts";
import { type Digest, digestOf } from "../../contract/ids.ts";
import { Assembler, type Target } from "./assemble.ts";
import { encodeProgram, INSTRUCTIONS_MAX, type Instruction } from "./interpret.ts";
import type { ArgumentTest, SeccompArch, SeccompProfile } from "./profile.ts";
import { ENOSYS, RET, type Resolved, type Rule, resolveProfile, type Verdict } from "./resolve.ts";

export interface CompileOptions {
  /**
   * What becomes of syscalls numbered above every one the profile names. `"default"`: the default action. `"absent"`:
   * ENOSYS, so that programs built for a newer kernel fall back; what runc does when the default action refuses.
   */
  readonly newer?: "default" | "absent";
}

export interface Compiled {
  readonly instructions: readonly Instruction[];
  /** The instructions as `struct sock_filter[]`, for `prctl`, `seccomp` or `bwrap --seccomp`. */
  readonly program: Uint8Array;
  readonly digest: Digest;
  /** Names without a number on this architecture. */
  readonly unknown: readonly string[];
  /** Names of which one entry, without arguments, contradicts another: only one of them has an effect. */
  readonly shadowed: readonly string[];
}

/** include/uapi/linux/audit.h */
export const AUDIT_ARCH: Readonly<Record<SeccompArch, number>> = {
  "x86-64": 0xc000_003e,
  arm64: 0xc000_00b7,
};
/** arch/x86/include/uapi/asm/unistd.h: `__X32_SYSCALL_BIT`. The x32 ABI shares x86-64's audit value. */
const X32_BIT = 0x4000_0000;
const NUMBER_WORD = 0;
const ARCH_WORD = 4;
const ARGS_OFFSET = 16;
const WORD = 0xffff_ffff;

/**
 * Compiles a profile to the classic BPF program seccomp takes. Every other ABI's syscalls kill the process, since
 * they would be read with the wrong numbers; x32's get ENOSYS, as from a kernel built without it.
 *
 * @throws GateError `ERR_CONFIG_INVALID` when entries contradict each other or the program would be too long.
 */
export function compileProfile(
  profile: SeccompProfile,
  arch: SeccompArch,
  options: CompileOptions = {},
): Compiled {
  const resolved = resolveProfile(profile, arch);
  const assembler = new Assembler();
  const ranges = rangesOf(resolved, options.newer ?? "default");
  const byNumber = searchNumbers(assembler, ranges, new Map());
  const native =
    arch === "x86-64"
      ? assembler.test(
          { word: NUMBER_WORD, op: "atLeast", value: X32_BIT },
          { ret: RET.ERRNO + ENOSYS },
          byNumber,
        )
      : byNumber;
  const start = assembler.test({ word: ARCH_WORD, op: "equal", value: AUDIT_ARCH[arch] }, native, {
    ret: RET.KILL_PROCESS,
  });
  const instructions = assembler.finish(start);
  if (instructions.length > INSTRUCTIONS_MAX) {
    throw new GateError(
      "ERR_CONFIG_INVALID",
      `seccomp profile: compiles to ${instructions.length} instructions; the kernel takes ${INSTRUCTIONS_MAX}`,
    );
  }
  const program = encodeProgram(instructions);
  return {
    instructions,
    program,
    digest: digestOfProgram(program),
    unknown: resolved.unknown,
    shadowed: resolved.shadowed,
  };
}

/** Names exactly these instructions. */
export function digestOfProgram(program: Uint8Array): Digest {
  return digestOf(program);
}

/** Syscall numbers from `first` up to the next range's, which share a verdict. */
interface Range {
  readonly first: number;
  readonly key: string;
  readonly verdict: Verdict;
}

function rangesOf({ verdicts, otherwise }: Resolved, newer: "default" | "absent"): Range[] {
  const numbers = [...verdicts.keys()].sort((a, b) => a - b);
  const fallback: Verdict = { rules: [], otherwise };
  const ranges: Range[] = [];
  const add = (first: number, verdict: Verdict): void => {
    const key = JSON.stringify(verdict);
    if (ranges.at(-1)?.key !== key) ranges.push({ first, key, verdict });
  };
  let next = 0;
  for (const number of numbers) {
    if (number > next) add(next, fallback);
    add(number, verdicts.get(number) ?? fallback);
    next = number + 1;
  }
  // runc's rule (libcontainer/seccomp/patchbpf): a default that lets calls pass is left as it is.
  const passes = otherwise >>> 16 >= RET.TRACE >>> 16 && otherwise < RET.KILL_PROCESS;
  add(next, newer === "absent" && !passes ? { rules: [], otherwise: RET.ERRNO + ENOSYS } : fallback);
  return ranges;
}

function searchNumbers(assembler: Assembler, ranges: readonly Range[], done: Map<string, Target>): Target {
  const [only] = ranges;
  if (only !== undefined && ranges.length === 1) {
    const known = done.get(only.key);
    const target = known ?? decide(assembler, only.verdict);
    done.set(only.key, target);
    return target;
  }
  const middle = ranges.length >> 1;
  const above = searchNumbers(assembler, ranges.slice(middle), done);
  const below = searchNumbers(assembler, ranges.slice(0, middle), done);
  return assembler.test(
    { word: NUMBER_WORD, op: "atLeast", value: ranges[middle]?.first ?? 0 },
    above,
    below,
  );
}

function decide(assembler: Assembler, { rules, otherwise }: Verdict): Target {
  const { bits, rest } = gatherBits(rules);
  let next: Target = { ret: otherwise };
  // Contradicting rules were refused, so their order is free: what decides most calls comes first.
  for (const { tests, ret } of rest.toReversed()) {
    let held: Target = { ret };
    for (const test of tests.toReversed()) held = compare(assembler, test, held, next);
    next = held;
  }
  for (const { word, ret, set, clear } of bits) {
    if (clear !== 0) next = compareWord(assembler, word, clear, clear, next, { ret });
    if (set !== 0) next = assembler.test({ word, op: "anyBit", value: set }, { ret }, next);
  }
  return next;
}

/** Holds when any bit of `set` is set in the word, or any of `clear` is not. */
interface Bits {
  readonly word: number;
  readonly ret: number;
  set: number;
  clear: number;
}

/** Gathers rules that each test one bit: "every value but these" is written as dozens of them. */
function gatherBits(rules: readonly Rule[]): {
  readonly bits: readonly Bits[];
  readonly rest: readonly Rule[];
} {
  const bits = new Map<string, Bits>();
  const rest = rules.filter(({ tests, ret }) => {
    const [test] = tests;
    if (test === undefined || tests.length > 1 || test.op !== "SCMP_CMP_MASKED_EQ") return true;
    const [high, low] = split(test.value);
    const [mask, word] = high === 0 ? [low, lowWord(test.index)] : [high, highWord(test.index)];
    if ((mask & (mask - 1)) !== 0 || (high !== 0 && low !== 0)) return true;
    const key = `${word} ${ret}`;
    const gathered = bits.get(key) ?? { word, ret, set: 0, clear: 0 };
    bits.set(key, gathered);
    const [wantedHigh, wantedLow] = split(test.valueTwo ?? 0);
    const wanted = (high === 0 ? wantedLow : wantedHigh) & mask;
    if (wanted === 0) gathered.clear = (gathered.clear | mask) >>> 0;
    else gathered.set = (gathered.set | mask) >>> 0;
    return false;
  });
  return { bits: [...bits.values()], rest };
}

/** A comparison of 64 bits, in halves of 32: BPF's accumulator has no more. */
function compare(
  assembler: Assembler,
  { index, op, value, valueTwo = 0 }: ArgumentTest,
  yes: Target,
  no: Target,
): Target {
  switch (op) {
    case "SCMP_CMP_EQ":
      return compareMasked(assembler, index, [WORD, WORD], split(value), yes, no);
    case "SCMP_CMP_NE":
      return compareMasked(assembler, index, [WORD, WORD], split(value), no, yes);
    case "SCMP_CMP_MASKED_EQ":
      return compareMasked(assembler, index, split(value), split(valueTwo), yes, no);
    case "SCMP_CMP_GT":
      return compareOrder(assembler, index, "greater", split(value), yes, no);
    case "SCMP_CMP_GE":
      return compareOrder(assembler, index, "atLeast", split(value), yes, no);
    case "SCMP_CMP_LT":
      return compareOrder(assembler, index, "atLeast", split(value), no, yes);
    case "SCMP_CMP_LE":
      return compareOrder(assembler, index, "greater", split(value), no, yes);
    default:
      return op satisfies never;
  }
}

type Halves = readonly [high: number, low: number];

function compareOrder(
  assembler: Assembler,
  index: number,
  op: "greater" | "atLeast",
  [high, low]: Halves,
  yes: Target,
  no: Target,
): Target {
  const below = assembler.test({ word: lowWord(index), op, value: low }, yes, no);
  const same = assembler.test({ word: highWord(index), op: "equal", value: high }, below, no);
  return assembler.test({ word: highWord(index), op: "greater", value: high }, yes, same);
}

function compareMasked(
  assembler: Assembler,
  index: number,
  [maskHigh, maskLow]: Halves,
  [high, low]: Halves,
  yes: Target,
  no: Target,
): Target {
  // As libseccomp, and seccomp_rule_add(3), have it: the datum is masked too.
  const rest = compareWord(assembler, highWord(index), maskHigh, (high & maskHigh) >>> 0, yes, no);
  return compareWord(assembler, lowWord(index), maskLow, (low & maskLow) >>> 0, rest, no);
}

/** `(word & mask) == value` in as few instructions as it takes, keeping the word loaded where possible. */
function compareWord(
  assembler: Assembler,
  word: number,
  mask: number,
  value: number,
  yes: Target,
  no: Target,
): Target {
  if (mask === 0) return yes;
  if (mask === WORD) return assembler.test({ word, op: "equal", value }, yes, no);
  if (value === 0) return assembler.test({ word, op: "anyBit", value: mask }, no, yes);
  const oneBit = (mask & (mask - 1)) === 0;
  if (oneBit) return assembler.test({ word, op: "anyBit", value: mask }, yes, no);
  return assembler.test({ word, op: "masked", mask, value }, yes, no);
}

/** Both architectures are little-endian: the low half comes first. */
function lowWord(index: number): number {
  return ARGS_OFFSET + index * 8;
}

function highWord(index: number): number {
  return lowWord(index) + 4;
}

function split(value: number): Halves {
  return [Math.floor(value / 2 ** 32), value >>> 0];
}
