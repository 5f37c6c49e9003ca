import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { withCanary } from "./canary.ts";
import { AUDIT_ARCH } from "./compile.ts";
import { defaultSeccomp } from "./default.ts";
import { DEFAULT_PROFILE } from "./default-profile.ts";
import { RET_USER_NOTIF } from "./explain-program.ts";
import { decodeProgram, runProgram } from "./interpret.ts";
import { observedCalls, observeProgram } from "./observe-program.ts";
import { shapesOf } from "./reference.fixture.ts";
import { RET, syscallNumber } from "./resolve.ts";

const LAST_NUMBER = 600;
const AT_EMPTY_PATH = 0x1000n;

/** seccomp_run_filters in kernel/seccomp.c: of two actions the lesser, as signed numbers, counts. */
function stricter(a: number, b: number): number {
  return (a | 0) <= (b | 0) ? a : b;
}

for (const arch of ["x86-64", "arm64"] as const) {
  const usual = decodeProgram(defaultSeccomp(arch).program);
  const observing = decodeProgram(observeProgram(arch));
  const numbers = new Set(observedCalls(arch).map(({ number }) => number));

  describe(`the program of an observing run on ${arch}`, () => {
    it("changes no answer of the default program but its leave, and asks only about calls that name a path", () => {
      const { profile } = withCanary(DEFAULT_PROFILE);
      let refused = 0;
      let asked = 0;
      for (let nr = 0; nr <= LAST_NUMBER; nr++) {
        for (const data of shapesOf(profile, arch, nr)) {
          const alone = runProgram(usual, data);
          const both = stricter(alone, runProgram(observing, data));
          if (alone !== RET.ALLOW) {
            refused++;
            assert.equal(both, alone, `${nr} ${data.args}`);
          } else if (both !== RET.ALLOW) {
            asked++;
            assert.equal(both, RET_USER_NOTIF);
            assert.ok(numbers.has(nr), `${nr}`);
          }
        }
      }
      assert.ok(refused > 10_000 && asked > 30, `only ${refused}, ${asked}`);
    });

    it("asks about every one of its calls, and not about one that means a descriptor", () => {
      for (const { number: nr, mayBeEmpty } of observedCalls(arch)) {
        const answer = (flags: bigint): number => {
          const args = [0n, 0n, 0n, 0n, 0n, 0n];
          if (mayBeEmpty !== undefined) args[mayBeEmpty] = flags;
          return runProgram(observing, { nr, arch: AUDIT_ARCH[arch], args });
        };
        assert.equal(answer(0n), RET_USER_NOTIF);
        assert.equal(answer(AT_EMPTY_PATH), mayBeEmpty === undefined ? RET_USER_NOTIF : RET.ALLOW);
      }
    });

    it("knows the calls by which a path is opened, run or changed", () => {
      for (const name of [
        "openat",
        "execve",
        "execveat",
        "mkdirat",
        "unlinkat",
        "renameat2",
        "linkat",
        "symlinkat",
      ])
        assert.ok(numbers.has(syscallNumber(arch, name) ?? -1), name);
    });
  });
}
