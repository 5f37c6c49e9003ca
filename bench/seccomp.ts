import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withCanary } from "../src/sandbox/seccomp/canary.ts";
import { compileProfile } from "../src/sandbox/seccomp/compile.ts";
import { defaultSeccomp, seccompArch } from "../src/sandbox/seccomp/default.ts";
import { DEFAULT_PROFILE } from "../src/sandbox/seccomp/default-profile.ts";
import { parseSeccompProfile } from "../src/sandbox/seccomp/profile.ts";
import { syscallNumber } from "../src/sandbox/seccomp/resolve.ts";

/**
 * The seccomp program: its size, how long it takes to get, and what a syscall costs under it in this kernel.
 * `node bench/seccomp.ts [DOCKER_PROFILE.json]`; Docker's profile (github.com/moby/profiles, seccomp/default.json) is
 * compared by size.
 */

const ROUNDS = 7;
const CALLS = 2_000_000;
const arch = seccompArch(process.arch) ?? "x86-64";

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? Number.NaN;
}

/** The first run, as a one-shot command line pays it, and the median of many. */
function timeMs(work: () => unknown): { readonly first: string; readonly warm: string } {
  const once = (): number => {
    const start = performance.now();
    work();
    return performance.now() - start;
  };
  const first = once();
  return {
    first: `${first.toFixed(3)} ms`,
    warm: `${median(Array.from({ length: 200 }, once)).toFixed(3)} ms`,
  };
}

/** Nanoseconds per call in a perl loop, loop included; undefined where there is no bwrap or perl. */
function callNs(call: string, programFile: string | undefined): number | undefined {
  const run = (calls: number): number => {
    const fd = openSync(programFile ?? "/dev/null", "r");
    const filter = programFile === undefined ? [] : ["--seccomp", "3"];
    const sandbox = [
      "--unshare-all",
      "--die-with-parent",
      "--ro-bind",
      "/",
      "/",
      "--dev",
      "/dev",
      ...filter,
      "--",
    ];
    const script = `for (my $i = 0; $i < ${calls}; $i++) { syscall(${call}) }`;
    const start = performance.now();
    const { status } = spawnSync("bwrap", [...sandbox, "perl", "-e", script], {
      stdio: ["ignore", "ignore", "ignore", fd],
      ...(process.getuid?.() === 0 && { uid: 65533, gid: 65533 }),
    });
    closeSync(fd);
    return status === 0 ? performance.now() - start : Number.NaN;
  };
  const samples = Array.from({ length: ROUNDS }, () => ((run(CALLS) - run(1)) / CALLS) * 1e6);
  const result = median(samples);
  return Number.isNaN(result) ? undefined : result;
}

const fast = timeMs(() => defaultSeccomp(arch));
const compiling = timeMs(() =>
  compileProfile(withCanary(DEFAULT_PROFILE).profile, arch, { newer: "absent" }),
);
console.table({
  "default program, compiled ahead": fast,
  "the same, compiled from the profile": compiling,
});

const sizes: Record<string, { instructions: number; bytes: number }> = {};
for (const each of ["x86-64", "arm64"] as const) {
  const { length } = defaultSeccomp(each).program;
  sizes[`default, ${each}`] = { instructions: length / 8, bytes: length };
}
const docker = process.argv[2];
if (docker !== undefined) {
  const profile = parseSeccompProfile(JSON.parse(readFileSync(docker, "utf8")));
  const { length } = compileProfile(profile, arch).program;
  sizes[`Docker's, ${arch}`] = { instructions: length / 8, bytes: length };
}
console.table(sizes);

const folder = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(folder, 0o755);
const file = join(folder, "default.bpf");
writeFileSync(file, defaultSeccomp(arch).program);
const calls = {
  "getppid: allowed whatever its arguments": `${syscallNumber(arch, "getppid")}`,
  "ioctl: arguments tested, allowed": `${syscallNumber(arch, "ioctl")}, -1, 0x5413, 0`,
  "clone3: refused": `${syscallNumber(arch, "clone3")}, 0, 0`,
};
const costs: Record<string, { plain: string; filtered: string; difference: string }> = {};
const ns = (value: number | undefined): string =>
  value === undefined ? "no bwrap or perl" : `${value.toFixed(0)} ns`;
for (const [name, call] of Object.entries(calls)) {
  const [plain, filtered] = [callNs(call, undefined), callNs(call, file)];
  const difference = plain === undefined || filtered === undefined ? undefined : filtered - plain;
  costs[name] = { plain: ns(plain), filtered: ns(filtered), difference: ns(difference) };
}
console.table(costs);
rmSync(folder, { recursive: true });
