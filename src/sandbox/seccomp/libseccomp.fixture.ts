import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { decodeProgram, type Instruction } from "./interpret.ts";
import type { SeccompArch, SeccompProfile } from "./profile.ts";
import { referenceReturn } from "./reference.fixture.ts";
import { applies, syscallNumber } from "./resolve.ts";

export const OCI_ARCH = { "x86-64": "x86_64", arm64: "aarch64" } as const;

/** Builds the program that asks libseccomp. @returns its path, or undefined without cc or libseccomp's headers. */
export function buildExporter(folder: string): string | undefined {
  const exporter = join(folder, "libseccomp-export");
  const source = new URL("fixtures/libseccomp-export.c", import.meta.url).pathname;
  const { status } = spawnSync("cc", ["-O1", "-o", exporter, source, "-lseccomp"]);
  return status === 0 ? exporter : undefined;
}

/** The profile through libseccomp, and the names it does not know. */
export function compileByLibseccomp(
  exporter: string,
  profile: SeccompProfile,
  arch: SeccompArch,
): { readonly program: readonly Instruction[]; readonly unknown: ReadonlySet<string> } {
  const fallback = referenceReturn(profile.defaultAction, profile.defaultErrnoRet);
  const lines = [`arch ${OCI_ARCH[arch]}`, `default ${fallback.toString(16)}`];
  for (const entry of profile.syscalls.filter((each) => applies(each, arch))) {
    const ret = referenceReturn(entry.action, entry.errnoRet);
    // libseccomp refuses rules that repeat the default action; runc leaves them out in the same way.
    if (ret === fallback) continue;
    const tests = (entry.args ?? []).map(
      ({ index, op, value, valueTwo = 0 }) =>
        `${index} ${op.replace("SCMP_CMP_", "")} ${value.toString(16)} ${valueTwo.toString(16)}`,
    );
    for (const name of entry.names) {
      const number = syscallNumber(arch, name);
      if (number === undefined) continue;
      // By number, since libseccomp knows no syscall newer than itself. Numbers are always its host's, so the
      // other architecture has to go by name.
      const syscall = arch === "x86-64" ? number : name;
      lines.push(["rule", syscall, ret.toString(16), ...tests].join(" "));
    }
  }
  const input = `${lines.join("\n")}\n`;
  const { status, stdout, stderr } = spawnSync(exporter, { input, maxBuffer: 1 << 24 });
  assert.equal(status, 0, stderr.toString());
  return { program: decodeProgram(stdout), unknown: new Set(stderr.toString().split("\n").filter(Boolean)) };
}
