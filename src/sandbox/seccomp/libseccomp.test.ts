import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { GateError } from "../../contract/errors.ts";
import { withCanary } from "./canary.ts";
import { AUDIT_ARCH, compileProfile } from "./compile.ts";
import { DEFAULT_PROFILE } from "./default-profile.ts";
import { type Instruction, runProgram, type SeccompData } from "./interpret.ts";
import { buildExporter, compileByLibseccomp, OCI_ARCH } from "./libseccomp.fixture.ts";
import { parseSeccompProfile, type SeccompArch, type SeccompProfile } from "./profile.ts";
import { LIBSECCOMP_PROFILE } from "./random-profile.fixture.ts";
import { shapesOf } from "./reference.fixture.ts";
import { RET, syscallNames, syscallNumber } from "./resolve.ts";

const folder = mkdtempSync(join(tmpdir(), "callgate-libseccomp-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const exporter = buildExporter(folder);
const unavailable =
  exporter !== undefined ? false : "needs cc and libseccomp-dev: apt-get install gcc libseccomp-dev";
// libseccomp takes numbers as its host's, and the fixture gives it x86-64's.
const skip = process.arch === "x64" ? unavailable : "needs an x86-64 host";

const LAST_NUMBER = 600;
const NUMBERS = Array.from({ length: LAST_NUMBER + 1 }, (_, nr) => nr);

function libseccomp(
  profile: SeccompProfile,
  arch: SeccompArch,
): { program: readonly Instruction[]; unknown: ReadonlySet<string> } {
  assert.ok(exporter !== undefined);
  return compileByLibseccomp(exporter, profile, arch);
}

/** Runs both programs over every number and its shapes, of which a random profile may have too many. */
function compare(
  profile: SeccompProfile,
  arch: SeccompArch,
  shapesMax = Number.POSITIVE_INFINITY,
): { compared: number; unknown: ReadonlySet<string> } {
  const ours = compileProfile(profile, arch).instructions;
  const { program: theirs, unknown } = libseccomp(profile, arch);
  const skipped = new Set([...unknown].map((name) => syscallNumber(arch, name)));
  let compared = 0;
  for (const nr of NUMBERS.filter((number) => !skipped.has(number))) {
    for (const data of shapesOf(profile, arch, nr).take(shapesMax)) {
      compared++;
      const [mine, other] = [runProgram(ours, data), runProgram(theirs, data)];
      if (mine !== other)
        assert.fail(`${show(data)}: ours ${mine.toString(16)}, libseccomp ${other.toString(16)}`);
    }
  }
  return { compared, unknown };
}

function show({ nr, args = [] }: SeccompData): string {
  return `syscall ${nr} (${args.map((arg) => `0x${arg.toString(16)}`).join(", ")})`;
}

describe("the compiler against libseccomp", { skip }, () => {
  const { profile } = withCanary(DEFAULT_PROFILE);

  it("gives the default profile the same verdicts on x86-64, for every number and argument shape", (t) => {
    const { compared, unknown } = compare(profile, "x86-64");
    t.diagnostic(`${compared} calls compared`);
    assert.deepEqual([...unknown], []);
    assert.ok(compared > 100_000, `only ${compared} calls compared`);
  });

  it("gives the default profile the same verdicts on arm64, but for syscalls libseccomp is too old to know", (t) => {
    const { compared, unknown } = compare(profile, "arm64");
    t.diagnostic(`${compared} calls compared; unknown to libseccomp: ${[...unknown].join(" ")}`);
    assert.ok(compared > 100_000, `only ${compared} calls compared`);
    // libseccomp 2.5.4 ends with Linux 5.17's; whatever it lacks must be newer than that.
    for (const name of unknown) assert.ok((syscallNumber("arm64", name) ?? 0) >= 448, `${name} is unknown`);
  });

  it("differs on purpose for other ABIs: they kill the process and not the thread, and x32 gets ENOSYS", () => {
    const ours = compileProfile(profile, "x86-64").instructions;
    const { program: theirs } = libseccomp(profile, "x86-64");
    for (const arch of [AUDIT_ARCH.arm64, 0x4000_0003, 0x4000_0028, 0, 0xffff_ffff]) {
      for (const nr of NUMBERS) {
        assert.equal(runProgram(ours, { nr, arch }), RET.KILL_PROCESS);
        assert.equal(runProgram(theirs, { nr, arch }), RET.KILL_THREAD);
      }
    }
    for (const low of [...NUMBERS, 0x3fff_fffe, 0xbfff_fffe]) {
      const data = { nr: 0x4000_0000 + low, arch: AUDIT_ARCH["x86-64"] };
      assert.equal(runProgram(ours, data), 0x0005_0026, show(data));
      assert.equal(runProgram(theirs, data), RET.KILL_THREAD, show(data));
    }
  });

  it("gives random profiles the same verdicts", (t) => {
    let accepted = 0;
    fc.assert(
      fc.property(LIBSECCOMP_PROFILE, (profile) => {
        if (!compiles(profile)) return;
        accepted++;
        compare(parseSeccompProfile(profile), "x86-64", 2000);
      }),
      { numRuns: 200 },
    );
    t.diagnostic(`${accepted} profiles compared`);
    assert.ok(accepted > 100, `only ${accepted} profiles compared`);
  });

  it("knows every syscall by the number libseccomp has for it", () => {
    for (const arch of ["x86-64", "arm64"] as const) {
      const names = syscallNames(arch);
      const input = [`arch ${OCI_ARCH[arch]}`, ...names.map((name) => `number ${name}`)].join("\n");
      const lines = spawnSync(exporter ?? "", { input: `${input}\n`, encoding: "utf8" })
        .stdout.trim()
        .split("\n");
      const known = lines.map((line) => line.split(" ")).filter(([, number]) => Number(number) >= 0);
      assert.ok(known.length > 300, `only ${known.length} names checked`);
      for (const [name = "", number] of known) assert.equal(syscallNumber(arch, name), Number(number), name);
    }
  });
});

function compiles(profile: SeccompProfile): boolean {
  try {
    compileProfile(profile, "x86-64");
    return true;
  } catch (error) {
    // Contradictions: what libseccomp makes of those is an accident.
    if (error instanceof GateError && error.code === "ERR_CONFIG_INVALID") return false;
    throw error;
  }
}
