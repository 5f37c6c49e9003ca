import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { contradiction } from "./overlap.ts";
import type { ArgumentTest } from "./profile.ts";
import { holds } from "./reference.fixture.ts";

const SMALL = 32;
/** Values below 32 are told apart by arguments below 128: 32 to 127 stand for everything larger. */
const ARGUMENTS = Array.from({ length: 4 * SMALL }, (_, value) => BigInt(value));

const TEST: fc.Arbitrary<ArgumentTest> = fc.oneof(
  fc.record({
    index: fc.nat({ max: 1 }),
    value: fc.nat({ max: SMALL - 1 }),
    op: fc.constantFrom<ArgumentTest["op"]>(
      "SCMP_CMP_NE",
      "SCMP_CMP_LT",
      "SCMP_CMP_LE",
      "SCMP_CMP_EQ",
      "SCMP_CMP_GE",
      "SCMP_CMP_GT",
    ),
  }),
  fc.record({
    index: fc.nat({ max: 1 }),
    value: fc.integer({ min: 1, max: SMALL - 1 }),
    valueTwo: fc.nat({ max: SMALL - 1 }),
    op: fc.constant("SCMP_CMP_MASKED_EQ" as const),
  }),
);
const TESTS = fc.uniqueArray(TEST, { minLength: 1, maxLength: 2, selector: (test) => test.index });

it("finds a contradiction exactly when some arguments satisfy both rules", () => {
  let found = 0;
  fc.assert(
    fc.property(TESTS, TESTS, (ours, theirs) => {
      const both = [...ours, ...theirs];
      // A rule tests an argument once, so each argument can be tried by itself.
      const overlap = [0, 1].every((index) =>
        ARGUMENTS.some((value) =>
          both.every((test) => test.index !== index || holds(test, { nr: 0, arch: 0, args: [value, value] })),
        ),
      );
      if (overlap) found++;
      const pair = contradiction([
        { tests: ours, ret: 1 },
        { tests: theirs, ret: 2 },
      ]);
      assert.equal(pair !== undefined, overlap);
      assert.equal(contradiction([ours, theirs].map((tests) => ({ tests, ret: 1 }))), undefined);
    }),
    { numRuns: 5000 },
  );
  assert.ok(found > 500 && found < 4500, `${found} of 5000 overlap, so one side went untested`);
});

it("sees bits above the 32nd", () => {
  const high = 2 ** 40;
  const masked = (value: number, valueTwo: number): ArgumentTest => ({
    index: 0,
    value,
    valueTwo,
    op: "SCMP_CMP_MASKED_EQ",
  });
  const rules = (one: ArgumentTest, other: ArgumentTest): { tests: ArgumentTest[]; ret: number }[] => [
    { tests: [one], ret: 1 },
    { tests: [other], ret: 2 },
  ];
  assert.equal(
    contradiction(rules(masked(high, high), { index: 0, value: high, op: "SCMP_CMP_LT" })),
    undefined,
  );
  assert.notEqual(
    contradiction(rules(masked(high, high), { index: 0, value: high, op: "SCMP_CMP_LE" })),
    undefined,
  );
  assert.notEqual(
    contradiction(rules(masked(1, 1), { index: 0, value: high, op: "SCMP_CMP_GE" })),
    undefined,
  );
});
