import fc from "fast-check";
import type { Action, ArgumentTest, SeccompProfile, SyscallEntry } from "./profile.ts";

const VALUES = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.constantFrom(
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    Number.MAX_SAFE_INTEGER,
  ),
  fc.nat({ max: Number.MAX_SAFE_INTEGER }),
);
const TEST: fc.Arbitrary<ArgumentTest> = fc.oneof(
  fc.record({
    index: fc.nat({ max: 5 }),
    value: VALUES,
    op: fc.constantFrom<ArgumentTest["op"]>(
      "SCMP_CMP_NE",
      "SCMP_CMP_LT",
      "SCMP_CMP_LE",
      "SCMP_CMP_EQ",
      "SCMP_CMP_GE",
      "SCMP_CMP_GT",
    ),
  }),
  fc
    .record({
      index: fc.nat({ max: 5 }),
      mask: VALUES.map((mask) => mask || 1),
      datum: VALUES,
      inside: fc.integer({ min: 0, max: 9 }),
    })
    .map(({ index, mask, datum, inside }) => ({
      index,
      value: mask,
      // Now and then a datum with bits outside the mask.
      valueTwo: inside === 0 ? datum : Number(BigInt(mask) & BigInt(datum)),
      op: "SCMP_CMP_MASKED_EQ" as const,
    })),
);
const TESTS = fc.uniqueArray(TEST, { maxLength: 3, selector: (test) => test.index });

const ACTIONS = fc.constantFrom<Action>(
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_LOG",
);
/** Few names, so that entries meet. */
const NAMES = ["read", "write", "openat", "ioctl", "socket", "clone", "getpid", "kill", "mseal", "prlimit64"];

const ENTRY: fc.Arbitrary<SyscallEntry> = fc
  .record({
    names: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }),
    action: ACTIONS,
    errno: fc.integer({ min: 0, max: 4094 }),
    args: TESTS,
  })
  .map(({ names, action, errno, args }) => ({
    names,
    action,
    args,
    ...((action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE") && { errnoRet: errno }),
  }));

/** Profiles of any shape, contradictions among them. */
export const RANDOM_PROFILE: fc.Arbitrary<SeccompProfile> = fc.record({
  defaultAction: fc.constantFrom<Action>("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ALLOW"),
  syscalls: fc.array(ENTRY, { maxLength: 12 }),
});

/**
 * The random profiles libseccomp 2.5.4 can be held against. Where several entries of one syscall compare order, it
 * goes wrong: it reuses a word loaded for another argument, and of `LT 1000 or LT 18` it may lose the first.
 */
export const LIBSECCOMP_PROFILE: fc.Arbitrary<SeccompProfile> = RANDOM_PROFILE.map((profile) => {
  const entriesOf = (name: string): readonly SyscallEntry[] =>
    profile.syscalls.filter((entry) => entry.names.includes(name));
  const trusted = (name: string): boolean =>
    entriesOf(name).length === 1 || !entriesOf(name).some(comparesOrder);
  return {
    ...profile,
    syscalls: profile.syscalls
      .map((entry) => ({ ...entry, names: entry.names.filter(trusted) }))
      .filter((entry) => entry.names.length > 0),
  };
});

function comparesOrder({ args = [] }: SyscallEntry): boolean {
  return args.some(({ op }) => !op.endsWith("EQ"));
}
