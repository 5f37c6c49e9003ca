import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_PROFILE } from "./default-profile.ts";
import { parseSeccompProfile } from "./profile.ts";

const minimal = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [] };
const withEntry = (entry: object): object => ({
  ...minimal,
  syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", ...entry }],
});
const withTest = (test: object): object =>
  withEntry({ args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ", ...test }] });

describe("parseSeccompProfile", () => {
  it("reads what Docker's own profiles hold", () => {
    const docker = {
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 1,
      archMap: [
        { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
        { architecture: "X", subArchitectures: null },
      ],
      syscalls: [
        {
          names: ["ptrace"],
          action: "SCMP_ACT_ALLOW",
          args: [],
          comment: "",
          includes: { minKernel: "4.8", caps: ["CAP_SYS_PTRACE"] },
          excludes: { arches: ["s390"] },
        },
        { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
        {
          names: ["clone"],
          action: "SCMP_ACT_ALLOW",
          args: [{ index: 0, value: 2114060288, op: "SCMP_CMP_MASKED_EQ" }],
        },
      ],
    };
    const { syscalls } = parseSeccompProfile(docker);
    assert.deepEqual(syscalls[0], docker.syscalls[0]);
    assert.deepEqual(syscalls[2]?.args, [
      { index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" },
    ]);
  });

  it("reads our own profile back unchanged", () => {
    assert.deepEqual(parseSeccompProfile(JSON.parse(JSON.stringify(DEFAULT_PROFILE))), DEFAULT_PROFILE);
  });

  const refused: readonly (readonly [what: string, profile: unknown, expected: RegExp])[] = [
    ["not an object", [], /profile: is not an object/],
    ["an unknown key", { ...minimal, defaultaction: 1 }, /unknown key `defaultaction`/],
    ["a notify listener", { ...minimal, listenerPath: "/run/x" }, /unknown key `listenerPath`/],
    ["filter flags", { ...minimal, flags: ["SECCOMP_FILTER_FLAG_LOG"] }, /flags/],
    ["no default action", { syscalls: [] }, /defaultAction/],
    ["an unknown default action", { ...minimal, defaultAction: "ALLOW" }, /`ALLOW` is not supported/],
    [
      "a default errno without ERRNO",
      { ...minimal, defaultAction: "SCMP_ACT_KILL", defaultErrnoRet: 1 },
      /no meaning/,
    ],
    ["SCMP_ACT_NOTIFY", withEntry({ action: "SCMP_ACT_NOTIFY" }), /syscalls\[0\]\.action: `SCMP_ACT_NOTIFY`/],
    ["syscalls that are no array", { ...minimal, syscalls: {} }, /syscalls: is not an array/],
    ["an unknown key of an entry", withEntry({ arg: [] }), /syscalls\[0\]: unknown key `arg`/],
    ["an entry without names", withEntry({ names: [] }), /names: is empty/],
    ["a name that is no string", withEntry({ names: [1] }), /names\[0\]: is not a string/],
    ["a comment that is no string", withEntry({ comment: 1 }), /comment: is not a string/],
    ["an errno with ALLOW", withEntry({ errnoRet: 1 }), /errnoRet: has no meaning for `SCMP_ACT_ALLOW`/],
    ["an errno libseccomp refuses", withEntry({ action: "SCMP_ACT_ERRNO", errnoRet: 4095 }), /4095/],
    ["a fractional errno", withEntry({ action: "SCMP_ACT_ERRNO", errnoRet: 1.5 }), /1\.5/],
    ["an unknown operator", withTest({ op: "SCMP_CMP_XX" }), /args\[0\]\.op: `SCMP_CMP_XX`/],
    ["an unknown key of a test", withTest({ mask: 1 }), /args\[0\]: unknown key `mask`/],
    ["argument 6", withTest({ index: 6 }), /args\[0\]\.index/],
    ["a negative value", withTest({ value: -1 }), /args\[0\]\.value/],
    ["a value JSON cannot hold exactly", withTest({ value: 2 ** 53 }), /args\[0\]\.value/],
    ["a mask of 0", withTest({ op: "SCMP_CMP_MASKED_EQ", value: 0 }), /mask of 0/],
    ["valueTwo where nothing reads it", withTest({ valueTwo: 1 }), /valueTwo/],
    [
      "one argument tested twice",
      withEntry({ args: [1, 2].map((value) => ({ index: 0, value, op: "SCMP_CMP_NE" })) }),
      /compares one argument twice/,
    ],
    ["an unknown condition", withEntry({ includes: { kernel: "5" } }), /includes: unknown key `kernel`/],
    ["a kernel version that is none", withEntry({ includes: { minKernel: "new" } }), /minKernel/],
    ["an unknown key of archMap", { ...minimal, archMap: [{ architecture: "X", extra: 1 }] }, /archMap\[0\]/],
    ["an archMap without a name", { ...minimal, archMap: [{}] }, /archMap\[0\]\.architecture/],
  ];
  for (const [what, profile, expected] of refused) {
    it(`refuses ${what}, by name`, () => {
      assert.throws(() => parseSeccompProfile(profile), { code: "ERR_CONFIG_INVALID", message: expected });
    });
  }
});
