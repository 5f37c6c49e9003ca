/** What a profile means, written for reading and not for speed: the measure for compile.ts and for libseccomp. */
import { AUDIT_ARCH } from "./compile.ts";
import type { SeccompData } from "./interpret.ts";
import type { ArgumentTest, SeccompArch, SeccompProfile } from "./profile.ts";
import { syscallNumber } from "./resolve.ts";

const U64 = (1n << 64n) - 1n;

/** The return value for one syscall of the architecture's own ABI. Entries with conditions are not read. */
export function referenceVerdict(profile: SeccompProfile, arch: SeccompArch, data: SeccompData): number {
  const fallback = referenceReturn(profile.defaultAction, profile.defaultErrnoRet);
  const entries = profile.syscalls
    .filter((entry) => entry.names.some((name) => syscallNumber(arch, name) === data.nr))
    .filter((entry) => referenceReturn(entry.action, entry.errnoRet) !== fallback);
  const fixed = entries.find((entry) => (entry.args ?? []).length === 0);
  const holding = entries.find((entry) => (entry.args ?? []).every((test) => holds(test, data)));
  const decided = fixed ?? holding;
  return decided === undefined ? fallback : referenceReturn(decided.action, decided.errnoRet);
}

export function holds({ index, op, value, valueTwo = 0 }: ArgumentTest, { args = [] }: SeccompData): boolean {
  const argument = args[index] ?? 0n;
  const bound = BigInt(value);
  return {
    SCMP_CMP_NE: argument !== bound,
    SCMP_CMP_LT: argument < bound,
    SCMP_CMP_LE: argument <= bound,
    SCMP_CMP_EQ: argument === bound,
    SCMP_CMP_GE: argument >= bound,
    SCMP_CMP_GT: argument > bound,
    SCMP_CMP_MASKED_EQ: (argument & bound) === (BigInt(valueTwo) & bound),
  }[op];
}

/** include/uapi/linux/seccomp.h, spelt out again so that a slip in resolve.ts shows. */
export function referenceReturn(action: string, errno: number = 1): number {
  const values: Readonly<Record<string, number>> = {
    SCMP_ACT_KILL: 0,
    SCMP_ACT_KILL_THREAD: 0,
    SCMP_ACT_KILL_PROCESS: 0x80000000,
    SCMP_ACT_TRAP: 0x00030000,
    SCMP_ACT_ERRNO: 0x00050000 | errno,
    SCMP_ACT_TRACE: 0x7ff00000 | errno,
    SCMP_ACT_LOG: 0x7ffc0000,
    SCMP_ACT_ALLOW: 0x7fff0000,
  };
  const value = values[action];
  if (value === undefined) throw new Error(action);
  return value;
}

/**
 * Every combination of arguments that could matter to a syscall's entries: for each value compared, itself and its
 * neighbours, plain and under several kinds of garbage in the upper half; each bit of its mask flipped; and all bits
 * set that the mask leaves out.
 */
export function* shapesOf(profile: SeccompProfile, arch: SeccompArch, nr: number): Generator<SeccompData> {
  const tests = profile.syscalls
    .filter((entry) => entry.names.some((name) => syscallNumber(arch, name) === nr))
    .flatMap((entry) => entry.args ?? []);
  const indexes = [...new Set(tests.map((test) => test.index))];
  const choices = indexes.map((index) => valuesFor(tests.filter((test) => test.index === index)));
  for (const chosen of product(choices)) {
    const args = [0n, 0n, 0n, 0n, 0n, 0n];
    for (const [at, index] of indexes.entries()) args[index] = chosen[at] ?? 0n;
    yield { nr, arch: AUDIT_ARCH[arch], args };
  }
}

const GARBAGE = [0n, 1n << 32n, 1n << 63n, 0xffff_ffffn << 32n];

function valuesFor(tests: readonly ArgumentTest[]): bigint[] {
  const values = new Set<bigint>([0n, U64]);
  for (const { op, value, valueTwo = 0 } of tests) {
    const mask = op === "SCMP_CMP_MASKED_EQ" ? BigInt(value) : 0n;
    const base = BigInt(mask === 0n ? value : valueTwo);
    for (const near of [base, base + 1n, base - 1n]) values.add(near & U64);
    for (const garbage of GARBAGE) values.add(base ^ garbage);
    if (mask === 0n) continue;
    values.add(base | (U64 ^ mask));
    for (let bit = 1n; bit <= mask; bit <<= 1n) if ((mask & bit) !== 0n) values.add(base ^ bit);
  }
  return [...values];
}

function* product(choices: readonly (readonly bigint[])[]): Generator<bigint[]> {
  const [first, ...rest] = choices;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const tail of product(rest)) for (const value of first) yield [value, ...tail];
}
