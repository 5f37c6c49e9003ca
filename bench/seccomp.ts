// The seccomp program: its size, how long it takes to get, and what a system call costs under it, beside Docker's.
// Docker's default profile is not ours to ship. What dockerd loads is read from a container where it can be started;
// `node bench/seccomp.ts --docker-profile FILE` compiles its JSON too (github.com/moby/profiles, seccomp/default.json).
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withCanary } from "../src/sandbox/seccomp/canary.ts";
import { compileProfile } from "../src/sandbox/seccomp/compile.ts";
import { defaultSeccomp, seccompArch } from "../src/sandbox/seccomp/default.ts";
import { DEFAULT_PROFILE } from "../src/sandbox/seccomp/default-profile.ts";
import { encodeProgram } from "../src/sandbox/seccomp/interpret.ts";
import { buildExporter, compileByLibseccomp } from "../src/sandbox/seccomp/libseccomp.fixture.ts";
import { parseSeccompProfile, type SeccompProfile } from "../src/sandbox/seccomp/profile.ts";
import { syscallNumber } from "../src/sandbox/seccomp/resolve.ts";
import { dockersFilter } from "./dockers-filter.ts";
import { percentile, printTable } from "./table.ts";

const ROUNDS = 15;
const CALLS = 300_000;
const COMPILATIONS = 200;
const STAND_BACK = { uid: 65_533, gid: 65_533 };
/** Where Debian's golang-github-containers-common puts podman's, which is close to Docker's. */
const PODMAN_PROFILE = "/usr/share/containers/seccomp.json";

const arch = seccompArch(process.arch) ?? "x86-64";
const { values } = parseArgs({ options: { "docker-profile": { type: "string" } } });
const folder = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(folder, 0o755);

/** Calls of each kind: by number early and late in the search, by argument, and refused. */
const KINDS: Readonly<Record<string, readonly (string | number)[]>> = {
  getppid: ["getppid"],
  read: ["read", -1, 0, 0],
  ioctl: ["ioctl", -1, 0x5413, 0],
  "futex_waitv (late)": ["futex_waitv", 0, 0, 0],
  "unshare, refused": ["unshare", 0],
};

async function programs(exporter: string | undefined): Promise<ReadonlyMap<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  const { profile } = withCanary(DEFAULT_PROFILE);
  const both = (name: string, each: SeccompProfile): void => {
    found.set(`${name}, our compiler`, compileProfile(each, arch, { newer: "absent" }).program);
    if (exporter !== undefined && arch === "x86-64") {
      found.set(`${name}, libseccomp`, encodeProgram(compileByLibseccomp(exporter, each, arch).program));
    }
  };
  both("Callgate's", profile);
  const loaded = await dockersFilter(folder);
  if (typeof loaded === "string") console.log(`what dockerd loads is not measured: ${loaded}`);
  else found.set("Docker's, as dockerd loads it", loaded);
  const docker = values["docker-profile"];
  const [name, file] = docker === undefined ? ["podman's", PODMAN_PROFILE] : ["Docker's", docker];
  if (docker !== undefined || existsSync(file))
    both(name, parseSeccompProfile(JSON.parse(readFileSync(file, "utf8"))));
  return found;
}

/** Nanoseconds per call, the loop's own among them. */
function callNs(loop: string, kind: readonly (string | number)[], program: string | undefined): number {
  const [name = "", ...args] = kind;
  const fd = openSync(program ?? "/dev/null", "r");
  try {
    const filter = program === undefined ? [] : ["--seccomp", "3"];
    const words = [CALLS, syscallNumber(arch, String(name)) ?? -1, ...args].map(String);
    const { stdout, status, stderr } = spawnSync(
      "bwrap",
      ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", ...filter, "--", loop, ...words],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe", fd],
        ...(process.getuid?.() === 0 && STAND_BACK),
      },
    );
    if (status !== 0) throw new Error(stderr);
    return Number(stdout);
  } finally {
    closeSync(fd);
  }
}

function costs(all: ReadonlyMap<string, Uint8Array>): void {
  const loop = join(folder, "loop");
  const source = join(import.meta.dirname, "seccomp-loop.c");
  if (spawnSync("cc", ["-O2", "-o", loop, source], { stdio: "inherit" }).status !== 0) {
    console.log("what a call costs is not measured: it needs cc");
    return;
  }
  const files = new Map<string, string | undefined>([["no filter", undefined]]);
  for (const [name, program] of all) {
    const file = join(folder, `${files.size}.bpf`);
    writeFileSync(file, program);
    files.set(name, file);
  }
  const samples = new Map<string, number[]>();
  // In turn, so that a drift of the machine's speed falls on all of them alike.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, file] of files) {
      for (const [kind, call] of Object.entries(KINDS)) {
        const key = `${name} ${kind}`;
        samples.set(key, [...(samples.get(key) ?? []), callNs(loop, call, file)]);
      }
    }
  }
  const rows = [...files.keys()].map((name) => {
    const bytes = all.get(name)?.length;
    const size = { instructions: bytes === undefined ? "" : bytes / 8 };
    const medians = Object.keys(KINDS).map((kind) => [
      kind,
      percentile(samples.get(`${name} ${kind}`) ?? [], 0.5),
    ]);
    return [name, { ...size, ...Object.fromEntries(medians) }];
  });
  console.log(`\nInstructions, and median nanoseconds per call of ${ROUNDS} runs of ${CALLS} calls, ${arch}`);
  console.table(Object.fromEntries(rows));
}

function compileTimes(): void {
  const timed = (work: () => unknown): number[] =>
    Array.from({ length: COMPILATIONS }, () => {
      const start = performance.now();
      work();
      return performance.now() - start;
    });
  const { profile } = withCanary(DEFAULT_PROFILE);
  printTable("Getting the program", [
    { name: "compiled ahead", samples: timed(() => defaultSeccomp(arch)) },
    {
      name: "compiled from the profile",
      samples: timed(() => compileProfile(profile, arch, { newer: "absent" })),
    },
  ]);
  for (const each of ["x86-64", "arm64"] as const)
    console.log(`default program, ${each}: ${defaultSeccomp(each).program.length / 8} instructions`);
}

try {
  compileTimes();
  costs(await programs(buildExporter(folder)));
} finally {
  rmSync(folder, { recursive: true });
}
