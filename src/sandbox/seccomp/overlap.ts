import type { ArgumentTest } from "./profile.ts";

interface Candidate {
  readonly tests: readonly ArgumentTest[];
  readonly ret: number;
}

/** The values one test accepts: inside any of the ranges (both ends count), and equal to `value` under `mask`. */
interface Accepted {
  readonly ranges: readonly (readonly [low: bigint, high: bigint])[];
  readonly mask: bigint;
  readonly value: bigint;
}

const TOP = 0xffff_ffff_ffff_ffffn;

/** The first two rules that some arguments satisfy together although they return different things. */
export function contradiction<Each extends Candidate>(
  rules: readonly Each[],
): readonly [Each, Each] | undefined {
  // A profile may hold dozens of entries for one syscall, mostly of one action: nothing to compare among those.
  const returns = [...new Set(rules.map((rule) => rule.ret))];
  for (const [at, ret] of returns.entries()) {
    const later = rules.filter((rule) => returns.indexOf(rule.ret) > at);
    for (const one of rules.filter((rule) => rule.ret === ret)) {
      const other = later.find((rule) => overlap(one.tests, rule.tests));
      if (other !== undefined) return [one, other];
    }
  }
  return undefined;
}

/** Whether some arguments satisfy every test of both. A rule tests an argument at most once. */
function overlap(ours: readonly ArgumentTest[], theirs: readonly ArgumentTest[]): boolean {
  return (
    ours.every((test) => {
      const against = theirs.find((other) => other.index === test.index);
      return satisfiable(accepted(test), against === undefined ? ANY : accepted(against));
    }) && theirs.every((test) => satisfiable(accepted(test), ANY))
  );
}

const ANY: Accepted = { ranges: [[0n, TOP]], mask: 0n, value: 0n };

function accepted({ op, value, valueTwo = 0 }: ArgumentTest): Accepted {
  const bound = BigInt(value);
  const within = (...ranges: readonly (readonly [bigint, bigint])[]): Accepted => ({
    ranges: ranges.filter(([low, high]) => low <= high),
    mask: 0n,
    value: 0n,
  });
  switch (op) {
    case "SCMP_CMP_NE":
      return within([0n, bound - 1n], [bound + 1n, TOP]);
    case "SCMP_CMP_LT":
      return within([0n, bound - 1n]);
    case "SCMP_CMP_LE":
      return within([0n, bound]);
    case "SCMP_CMP_EQ":
      return within([bound, bound]);
    case "SCMP_CMP_GE":
      return within([bound, TOP]);
    case "SCMP_CMP_GT":
      return within([bound + 1n, TOP]);
    case "SCMP_CMP_MASKED_EQ":
      return { ranges: [[0n, TOP]], mask: bound, value: bound & BigInt(valueTwo) };
    default:
      return op satisfies never;
  }
}

function satisfiable(one: Accepted, other: Accepted): boolean {
  if (((one.value ^ other.value) & one.mask & other.mask) !== 0n) return false;
  const mask = one.mask | other.mask;
  const value = one.value | other.value;
  return one.ranges.some(([low, high]) =>
    other.ranges.some(([otherLow, otherHigh]) => {
      // biome-ignore lint/complexity/useMathMinMax: Math.max does not take a bigint
      const from = low > otherLow ? low : otherLow;
      // biome-ignore lint/complexity/useMathMinMax: nor does Math.min
      const to = high < otherHigh ? high : otherHigh;
      const least = leastFrom(from, mask, value);
      return least !== undefined && least <= to;
    }),
  );
}

/** The least 64-bit number that is at least `from` and equals `value` under `mask`. */
function leastFrom(from: bigint, mask: bigint, value: bigint): bigint | undefined {
  if ((from & mask) === value) return from;
  // The answer agrees with `from` above some bit, is larger in that bit, and is the least possible below it.
  for (let bit = 0n; bit < 64n; bit++) {
    const here = 1n << bit;
    if ((from & here) !== 0n || ((mask & here) !== 0n && (value & here) === 0n)) continue;
    const above = TOP ^ ((here << 1n) - 1n);
    if ((from & above & mask) !== (value & above)) continue;
    return (from & above) | here | (value & (here - 1n));
  }
  return undefined;
}
