import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CANARY_PID } from "../../seccomp/canary.ts";
import { AUDIT_ARCH, compileProfile } from "../../seccomp/compile.ts";
import { defaultSeccomp } from "../../seccomp/default.ts";
import { runProgram } from "../../seccomp/interpret.ts";
import { RET, syscallNames, syscallNumber } from "../../seccomp/resolve.ts";
import { guestProfile } from "./guest-seccomp.ts";

const ACTION_BITS = 0xffff_0000;
/** Arguments at which entries of the default profile differ. */
const VALUES = [
  0n,
  1n,
  2n,
  3n,
  5n,
  9n,
  10n,
  11n,
  16n,
  38n,
  40n,
  0x5412n,
  0x541cn,
  0o4755n,
  0x1000_0000n,
  0x7e02_0000n,
];

describe("the default profile for gVisor", () => {
  for (const arch of ["x86-64", "arm64"] as const) {
    const { profile } = defaultSeccomp(arch);
    const ours = compileProfile(profile, arch).instructions;
    const guests = compileProfile(guestProfile(profile), arch).instructions;
    const verdict = (program: typeof ours, nr: number, args: readonly bigint[]): number =>
      runProgram(program, { nr, arch: AUDIT_ARCH[arch], instructionPointer: 0n, args });

    test(`lets through exactly what the default does (${arch})`, () => {
      let allowed = 0;
      for (const name of syscallNames(arch)) {
        const nr = syscallNumber(arch, name) ?? -1;
        for (const first of VALUES) {
          for (const second of VALUES) {
            const args = [first, second, second, first, 0n, 0n];
            const isAllowed = verdict(ours, nr, args) === RET.ALLOW;
            assert.equal(verdict(guests, nr, args) === RET.ALLOW, isAllowed, `${name} ${args.join(" ")}`);
            if (isAllowed) allowed += 1;
          }
        }
      }
      assert.ok(allowed > 10_000, String(allowed));
    });

    test(`answers for the canary and for clone3 by a tracer that is not there (${arch})`, () => {
      const action = (name: string, first: bigint): number =>
        (verdict(guests, syscallNumber(arch, name) ?? -1, [first, 0n, 0n, 0n, 0n, 0n]) & ACTION_BITS) >>> 0;
      assert.equal(action("kill", BigInt(CANARY_PID)), RET.TRACE);
      assert.equal(action("clone3", 0n), RET.TRACE);
      assert.equal(action("kill", 1n), RET.ALLOW);
    });
  }
});
