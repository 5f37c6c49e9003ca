import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GateError } from "../../contract/errors.ts";
import { AUDIT_ARCH, compileProfile, digestOfProgram } from "./compile.ts";
import { decodeProgram, OP, runProgram, validateProgram } from "./interpret.ts";
import type { Action, ArgumentTest, SeccompArch, SeccompProfile, SyscallEntry } from "./profile.ts";
import { RANDOM_PROFILE } from "./random-profile.fixture.ts";
import { referenceVerdict, shapesOf } from "./reference.fixture.ts";
import { RET, syscallNames, syscallNumber } from "./resolve.ts";

const X86 = AUDIT_ARCH["x86-64"];
const ALLOW = RET.ALLOW;
const DENY = RET.ERRNO + 1;
const ENOSYS = RET.ERRNO + 38;

function profile(...syscalls: readonly SyscallEntry[]): SeccompProfile {
  return { defaultAction: "SCMP_ACT_ERRNO", syscalls };
}

function allow(names: string, ...args: readonly ArgumentTest[]): SyscallEntry {
  return { names: names.split(" "), action: "SCMP_ACT_ALLOW", args };
}

function run(from: SeccompProfile, name: string, ...args: readonly bigint[]): number {
  const nr = syscallNumber("x86-64", name) ?? -1;
  return runProgram(compileProfile(from, "x86-64").instructions, { nr, arch: X86, args });
}

describe("compileProfile: which ABI and which number", () => {
  const from = profile(allow("read getpid mseal"));

  for (const arch of ["x86-64", "arm64"] as const) {
    it(`knows ${arch}'s own numbers`, () => {
      const { instructions } = compileProfile(from, arch);
      for (const name of syscallNames(arch)) {
        const verdict = runProgram(instructions, {
          nr: syscallNumber(arch, name) ?? -1,
          arch: AUDIT_ARCH[arch],
        });
        assert.equal(verdict, ["read", "getpid", "mseal"].includes(name) ? ALLOW : DENY, name);
      }
    });

    it(`kills the process of every ABI but ${arch}`, () => {
      const { instructions } = compileProfile(from, arch);
      const others = [0x4000_0003, 0x4000_0028, 0, 0xffff_ffff, ...Object.values(AUDIT_ARCH)];
      for (const other of others.filter((audit) => audit !== AUDIT_ARCH[arch])) {
        for (const nr of [0, 39, 172, 462, 0x4000_0000]) {
          assert.equal(runProgram(instructions, { nr, arch: other }), RET.KILL_PROCESS);
        }
      }
    });
  }

  it("refuses x32, whose numbers have bit 30, and the number -1", () => {
    const everything: SeccompProfile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [] };
    const { instructions } = compileProfile(everything, "x86-64");
    for (const nr of [0x4000_0000, 0x4000_0027, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      assert.equal(runProgram(instructions, { nr, arch: X86 }), ENOSYS, nr.toString(16));
    }
    assert.equal(runProgram(instructions, { nr: 0x3fff_ffff, arch: X86 }), ALLOW);
  });

  it("answers ENOSYS above the last named number when asked, unless the default lets calls pass", () => {
    const verdict = (defaultAction: Action): number => {
      const { instructions } = compileProfile({ ...from, defaultAction }, "x86-64", { newer: "absent" });
      assert.equal(runProgram(instructions, { nr: 462, arch: X86 }), ALLOW);
      return runProgram(instructions, { nr: 463, arch: X86 });
    };
    assert.deepEqual(
      ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"].map((action) =>
        verdict(action as Action),
      ),
      [ENOSYS, ENOSYS, ENOSYS, ENOSYS],
    );
    assert.deepEqual(
      ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].map((action) => verdict(action as Action)),
      [ALLOW, RET.LOG, RET.TRACE + 1],
    );
    const { instructions } = compileProfile(from, "x86-64");
    assert.equal(runProgram(instructions, { nr: 463, arch: X86 }), DENY, "not unless asked");
  });

  it("reports names the architecture does not have, and those no object should have", () => {
    const odd = profile(allow("read constructor __proto__ no_such_call open"));
    assert.deepEqual(compileProfile(odd, "x86-64").unknown, ["constructor", "__proto__", "no_such_call"]);
    assert.deepEqual(compileProfile(odd, "arm64").unknown, [
      "constructor",
      "__proto__",
      "no_such_call",
      "open",
    ]);
  });
});

describe("compileProfile: arguments", () => {
  const BOUND = 0x1_0000_0002;
  const near = [-0x1_0000_0000, -1, 0, 1, 0x1_0000_0000].map((step) => BigInt(BOUND + step));
  const cases: readonly (readonly [op: ArgumentTest["op"], expected: readonly boolean[]])[] = [
    ["SCMP_CMP_NE", [true, true, false, true, true]],
    ["SCMP_CMP_LT", [true, true, false, false, false]],
    ["SCMP_CMP_LE", [true, true, true, false, false]],
    ["SCMP_CMP_EQ", [false, false, true, false, false]],
    ["SCMP_CMP_GE", [false, false, true, true, true]],
    ["SCMP_CMP_GT", [false, false, false, true, true]],
  ];
  for (const [op, expected] of cases) {
    it(`${op} compares all 64 bits, in each of six arguments`, () => {
      for (const index of [0, 1, 2, 3, 4, 5]) {
        const from = profile(allow("read", { index, value: BOUND, op }));
        const verdicts = near.map(
          (value) => run(from, "read", ...[0n, 0n, 0n, 0n, 0n, 0n].with(index, value)) === ALLOW,
        );
        assert.deepEqual(verdicts, expected);
      }
    });
  }

  it("SCMP_CMP_MASKED_EQ looks only at the mask, on both sides", () => {
    const from = profile(
      allow("read", { index: 1, value: 0x1_0000_00f0, valueTwo: 0x1_0000_0035, op: "SCMP_CMP_MASKED_EQ" }),
    );
    const verdicts = [0x1_0000_0030n, 0xffff_ffff_ffff_ff3fn, 0x30n, 0x1_0000_0020n].map((value) =>
      run(from, "read", 0n, value),
    );
    assert.deepEqual(verdicts, [ALLOW, ALLOW, DENY, DENY]);
  });

  it("SCMP_CMP_MASKED_EQ of one bit masks its datum too", () => {
    const from = (value: number, valueTwo: number): SeccompProfile =>
      profile(allow("read", { index: 0, value, valueTwo, op: "SCMP_CMP_MASKED_EQ" }));
    for (const bit of [4, 2 ** 31, 2 ** 40]) {
      const verdicts = [run(from(bit, 3), "read", BigInt(bit)), run(from(bit, 3), "read", 3n)];
      assert.deepEqual(verdicts, [DENY, ALLOW], "a datum without the bit");
      const set = [run(from(bit, bit + 3), "read", BigInt(bit)), run(from(bit, bit + 3), "read", 3n)];
      assert.deepEqual(set, [ALLOW, DENY], "a datum with it");
    }
  });

  it("loads a word again once a mask has spoilt it", () => {
    const from = profile(
      allow("read", { index: 0, value: 0xf0, valueTwo: 0x30, op: "SCMP_CMP_MASKED_EQ" }),
      allow("read", { index: 0, value: 0xff, valueTwo: 0x41, op: "SCMP_CMP_MASKED_EQ" }),
    );
    assert.deepEqual(
      [0x3fn, 0x41n, 0x40n].map((value) => run(from, "read", value)),
      [ALLOW, ALLOW, DENY],
    );
  });

  it("asks for all tests of an entry and any entry of a syscall", () => {
    const from = profile(
      allow("read", { index: 0, value: 1, op: "SCMP_CMP_EQ" }, { index: 2, value: 9, op: "SCMP_CMP_GT" }),
      allow("read", { index: 0, value: 2, op: "SCMP_CMP_EQ" }),
    );
    const calls = [
      [1n, 0n, 10n],
      [1n, 0n, 9n],
      [2n, 0n, 0n],
      [0n, 0n, 10n],
    ] as const;
    assert.deepEqual(
      calls.map((args) => run(from, "read", ...args)),
      [ALLOW, DENY, ALLOW, DENY],
    );
  });

  it("is right where libseccomp 2.5.4 tests a word it loaded for another argument", () => {
    const from = profile(
      allow("ioctl", { index: 2, value: 0, op: "SCMP_CMP_GT" }),
      allow(
        "ioctl",
        { index: 2, value: 1, op: "SCMP_CMP_LT" },
        { index: 3, value: 0x7fff_ffff, op: "SCMP_CMP_NE" },
      ),
    );
    assert.equal(run(from, "ioctl", 0n, 0n, 0n, 0x7fff_ffffn), DENY);
  });

  it("means what a plain reading of the profile means, on random profiles", () => {
    let accepted = 0;
    fc.assert(
      fc.property(RANDOM_PROFILE, fc.constantFrom<SeccompArch>("x86-64", "arm64"), (random, arch) => {
        const compiled = compiledOrContradictory(random, arch);
        if (compiled === undefined) return;
        accepted++;
        for (const nr of new Set(syscallNames(arch).map((name) => syscallNumber(arch, name) ?? -1))) {
          for (const data of shapesOf(random, arch, nr).take(300)) {
            assert.equal(runProgram(compiled, data), referenceVerdict(random, arch, data));
          }
        }
      }),
      { numRuns: 200 },
    );
    assert.ok(accepted > 80, `only ${accepted} profiles compiled`);
  });
});

function compiledOrContradictory(from: SeccompProfile, arch: SeccompArch) {
  try {
    const { program } = compileProfile(from, arch);
    return decodeProgram(program);
  } catch (error) {
    if (error instanceof GateError && error.message.includes("can hold at once")) return undefined;
    throw error;
  }
}

describe("compileProfile: entries that meet", () => {
  const eq = (value: number): ArgumentTest => ({ index: 0, value, op: "SCMP_CMP_EQ" });
  const errno = (errnoRet: number, ...args: readonly ArgumentTest[]): SyscallEntry => ({
    names: ["read"],
    action: "SCMP_ACT_ERRNO",
    errnoRet,
    args,
  });

  it("lets an entry without arguments decide, the first of several, and says so", () => {
    for (const from of [
      profile(errno(5, eq(1)), allow("read")),
      profile(allow("read"), errno(5, eq(1)), errno(6)),
    ]) {
      assert.equal(run(from, "read", 1n), ALLOW);
      assert.deepEqual(compileProfile(from, "x86-64").shadowed, ["read"]);
    }
    assert.deepEqual(compileProfile(profile(allow("read"), allow("read", eq(1))), "x86-64").shadowed, []);
  });

  it("gives no effect to an entry that repeats the default, as runc does, and says so", () => {
    const from = profile(errno(1), allow("read", eq(1)));
    assert.deepEqual([run(from, "read", 1n), run(from, "read", 2n)], [ALLOW, DENY]);
    assert.deepEqual(compileProfile(from, "x86-64").shadowed, ["read"]);
  });

  it("refuses entries that hold at once and differ in action", () => {
    const from = profile(allow("read", eq(1)), errno(5, { index: 0, value: 2, op: "SCMP_CMP_LT" }));
    assert.throws(() => compileProfile(from, "x86-64"), {
      code: "ERR_CONFIG_INVALID",
      message: /two entries of `read`/,
    });
    compileProfile(
      profile(allow("read", eq(2)), errno(5, { index: 0, value: 2, op: "SCMP_CMP_LT" })),
      "x86-64",
    );
  });

  it("returns each action's own value", () => {
    const actions: readonly (readonly [SyscallEntry["action"], number, number?])[] = [
      ["SCMP_ACT_KILL", 0],
      ["SCMP_ACT_KILL_THREAD", 0],
      ["SCMP_ACT_KILL_PROCESS", 0x8000_0000],
      ["SCMP_ACT_TRAP", 0x0003_0000],
      ["SCMP_ACT_ERRNO", 0x0005_0001],
      ["SCMP_ACT_ERRNO", 0x0005_0ffe, 4094],
      ["SCMP_ACT_TRACE", 0x7ff0_0001],
      ["SCMP_ACT_TRACE", 0x7ff0_ffff, 0xffff],
      ["SCMP_ACT_LOG", 0x7ffc_0000],
      ["SCMP_ACT_ALLOW", 0x7fff_0000],
    ];
    for (const [action, value, errnoRet] of actions) {
      const entry: SyscallEntry = { names: ["read"], action, ...(errnoRet !== undefined && { errnoRet }) };
      assert.equal(run({ defaultAction: "SCMP_ACT_LOG", syscalls: [entry] }, "read"), value, action);
    }
  });

  it("applies Docker's conditions for a process without capabilities on a recent kernel", () => {
    const applied = (conditions: Pick<SyscallEntry, "includes" | "excludes">): boolean =>
      run(profile({ ...allow("read"), ...conditions }), "read") === ALLOW;
    assert.equal(applied({}), true);
    assert.equal(applied({ includes: { caps: ["CAP_BPF"] } }), false);
    assert.equal(applied({ excludes: { caps: ["CAP_BPF"] } }), true);
    assert.equal(applied({ includes: { arches: ["arm64"] } }), false);
    assert.equal(applied({ includes: { arches: ["arm64", "amd64"] } }), true);
    assert.equal(applied({ excludes: { arches: ["amd64"] } }), false);
    assert.equal(applied({ includes: { minKernel: "4.8" } }), true);
    assert.equal(applied({ excludes: { minKernel: "4.8" } }), false);
  });
});

describe("compileProfile: size", () => {
  /** An entry of which no test merges with another's. */
  const wide = (name: string, count: number): SyscallEntry[] =>
    Array.from({ length: count }, (_, at) =>
      allow(name, { index: at % 6, value: 0x1_0000_0000 * (at + 1) + at, op: "SCMP_CMP_EQ" }),
    );

  it("reaches past eight-bit jumps", () => {
    const from = profile(...wide("read", 300), allow("write"), ...wide("ioctl", 300), allow("getpid mseal"));
    const { instructions } = compileProfile(from, "x86-64");
    validateProgram(instructions);
    assert.ok(instructions.length > 1200 && instructions.some(({ code }) => code === OP.JA));
    for (const nr of [0, 1, 2, 16, 39, 462]) {
      for (const data of shapesOf(from, "x86-64", nr).take(3000)) {
        assert.equal(runProgram(instructions, data), referenceVerdict(from, "x86-64", data));
      }
    }
  });

  it("refuses what the kernel would not load", () => {
    const from = profile(...wide("read", 1100));
    assert.throws(() => compileProfile(from, "x86-64"), {
      code: "ERR_CONFIG_INVALID",
      message: /kernel takes 4096/,
    });
  });

  it("merges numbers that share a verdict, and tests of one bit", () => {
    const all = compileProfile(
      profile(
        allow(
          syscallNames("x86-64")
            .filter((name) => (syscallNumber("x86-64", name) ?? 0) < 300)
            .join(" "),
        ),
      ),
      "x86-64",
    );
    assert.ok(all.instructions.length < 12, `${all.instructions.length} instructions for one range`);
    const bits = Array.from({ length: 32 }, (_, bit) =>
      allow("read", {
        index: 0,
        value: 2 ** bit,
        valueTwo: bit % 2 === 0 ? 2 ** bit : 0,
        op: "SCMP_CMP_MASKED_EQ",
      }),
    );
    const { instructions } = compileProfile(profile(...bits), "x86-64");
    assert.ok(instructions.length < 20, `${instructions.length} instructions for 32 bits`);
  });

  it("names a program by its bytes", () => {
    const { program, digest } = compileProfile(profile(allow("read")), "x86-64");
    assert.equal(digestOfProgram(program), digest);
    assert.notEqual(compileProfile(profile(allow("write")), "x86-64").digest, digest);
  });
});
