import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { withCanary } from "./canary.ts";
import { AUDIT_ARCH } from "./compile.ts";
import { defaultSeccomp } from "./default.ts";
import { DEFAULT_PROFILE } from "./default-profile.ts";
import { explainPrograms, NEW_LISTENER, RET_USER_NOTIF } from "./explain-program.ts";
import { decodeProgram, runProgram, type SeccompData } from "./interpret.ts";
import { shapesOf } from "./reference.fixture.ts";
import { RET, syscallNumber } from "./resolve.ts";

const EBUSY = 16;
const LAST_NUMBER = 600;

for (const arch of ["x86-64", "arm64"] as const) {
  const { program, canaryErrno } = defaultSeccomp(arch);
  const usual = decodeProgram(program);
  const { outer, inner } = explainPrograms(arch);
  const [outside, within] = [decodeProgram(outer), decodeProgram(inner)];
  const { profile } = withCanary(DEFAULT_PROFILE);

  /** What an asking program has to answer where the default program answers `ret`. */
  function asking(ret: number): number {
    const isErrno = (ret & 0xffff_0000) >>> 0 === RET.ERRNO;
    return isErrno && ret !== RET.ERRNO + canaryErrno ? RET_USER_NOTIF : ret;
  }

  describe(`the programs of an explaining run on ${arch}`, () => {
    it("ask exactly where the default program refuses, and let through no more", (t) => {
      let compared = 0;
      let refused = 0;
      for (let nr = 0; nr <= LAST_NUMBER; nr++) {
        for (const data of shapesOf(profile, arch, nr)) {
          compared++;
          const ret = runProgram(usual, data);
          if (ret !== RET.ALLOW) refused++;
          assert.equal(runProgram(outside, data), asking(ret), `${nr} ${data.args}`);
          const listens = nr === syscallNumber(arch, "seccomp") && ((data.args?.[1] ?? 0n) & 8n) !== 0n;
          if (!listens) assert.equal(runProgram(within, data), asking(ret), `${nr} ${data.args}`);
        }
      }
      t.diagnostic(`${compared} calls compared, ${refused} of them refused`);
      assert.ok(compared > 100_000 && refused > 10_000, `only ${compared}, ${refused}`);
    });

    it("kill other ABIs as ever", () => {
      for (const abi of [0x4000_0003, 0x4000_0028, 0]) {
        for (let nr = 0; nr <= LAST_NUMBER; nr++) {
          assert.equal(runProgram(outside, { nr, arch: abi }), RET.KILL_PROCESS);
        }
      }
    });

    it("refuse the tool a listener of its own, whatever the upper half of the flags", () => {
      const nr = syscallNumber(arch, "seccomp") ?? -1;
      const call = (flags: bigint): SeccompData => ({ nr, arch: AUDIT_ARCH[arch], args: [1n, flags, 0n] });
      for (const flags of [8n, 9n, 0x1fn, 8n + 2n ** 32n, 2n ** 64n - 1n]) {
        assert.equal(runProgram(within, call(flags)), RET.ERRNO + EBUSY);
      }
      for (const flags of [0n, 1n, 2n, 2n ** 32n, 0x10n]) {
        assert.equal(runProgram(within, call(flags)), RET.ALLOW);
      }
      // The stage needs the one that the supervisor takes.
      assert.equal(runProgram(outside, call(BigInt(NEW_LISTENER))), RET.ALLOW);
    });
  });
}
