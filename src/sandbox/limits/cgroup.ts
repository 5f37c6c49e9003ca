import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Control, KilledBy } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";
import { LIMITED, type LimitBackend, type Limited, type LimitGroup, noLimits } from "./backend.ts";
import { SANDBOX_TASKS } from "./rlimit.ts";

/** One controller where it lives: v1 gives each its own tree, v2 one tree for all. */
export interface ControllerHome {
  readonly version: 1 | 2;
  /** The folder in which groups are made. */
  readonly folder: string;
}

export type ControllerHomes = Readonly<Partial<Record<Limited, ControllerHome>>>;

const PREFIX = "callgate-";
/** How long a dead sandbox's group may stay busy before it is left to the next start. */
const REMOVE_MS_MAX = 2_000;

/** cgroup v2, v1, or each controller where it lives on a hybrid host. */
export class CgroupBackend implements LimitBackend {
  readonly name: string;
  readonly #homes: ControllerHomes;
  /** Gateways in two containers may have the same pid and share a cgroup. */
  readonly #nonce = randomInt(1e9) * 1000;
  #made = 0;

  constructor(homes: ControllerHomes) {
    this.#homes = homes;
    const versions = new Set(Object.values(homes).map((home) => home.version));
    this.name = versions.size > 1 ? "cgroup hybrid" : `cgroup v${[...versions][0] ?? 2}`;
    this.#removeOrphans();
  }

  create(): LimitGroup {
    this.#made += 1;
    return new CgroupGroup(this.#homes, `${PREFIX}${process.pid}-${this.#nonce + this.#made}`);
  }

  /** A gateway that was killed leaves its groups; only those of processes that are gone are removed. */
  #removeOrphans(): void {
    for (const folder of new Set(Object.values(this.#homes).map((home) => home.folder))) {
      for (const name of readdirSync(folder)) {
        const owner = Number(/^callgate-(\d+)-\d+$/.exec(name)?.[1]);
        if (owner > 0 && !isAlive(owner)) tryRemove(join(folder, name));
      }
    }
  }
}

class CgroupGroup implements LimitGroup {
  readonly enforces: ReadonlySet<Limited>;
  readonly #groups: ReadonlyMap<Limited, { readonly version: 1 | 2; readonly path: string }>;
  readonly #name: string;
  #limits: Limits | undefined;

  constructor(homes: ControllerHomes, name: string) {
    this.#name = name;
    const groups = new Map<Limited, { version: 1 | 2; path: string }>();
    for (const controller of LIMITED) {
      const home = homes[controller];
      if (home !== undefined)
        groups.set(controller, { version: home.version, path: join(home.folder, name) });
    }
    this.#groups = groups;
    this.enforces = new Set(groups.keys());
    try {
      for (const path of this.#paths()) mkdirSync(path);
    } catch (error) {
      for (const path of this.#paths()) tryRemove(path);
      throw error;
    }
  }

  limit(limits: Limits): void {
    this.#writeLimits(limits);
    this.#limits = limits;
  }

  async enter(pid: number): Promise<void> {
    await Promise.all([...this.#paths()].map((path) => writeFile(join(path, "cgroup.procs"), String(pid))));
  }

  holds(pid: number): boolean {
    const membership = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
    const inside = membership.filter((line) => line.endsWith(`/${this.#name}`)).length;
    return inside >= this.#paths().size;
  }

  evidence(pid: number): Readonly<Record<Limited, Control>> {
    const limits = this.#limits;
    if (limits === undefined) return noLimits();
    const membership = readFileSync(`/proc/${pid}/cgroup`, "utf8");
    return {
      memory: this.#control("memory", limits, membership, (version) =>
        version === 1 ? ["memory.limit_in_bytes"] : ["memory.max"],
      ),
      processes: this.#control("processes", limits, membership, () => ["pids.max"]),
      cpu: this.#control("cpu", limits, membership, () => []),
    };
  }

  breached(): KilledBy | null {
    const { cpuMs } = this.usage();
    if (this.#count("memory", { 1: "memory.oom_control", 2: "memory.events" }, "oom_kill") > 0)
      return "memory";
    if (this.#count("processes", { 1: "pids.events", 2: "pids.events" }, "max") > 0) return "processes";
    if (cpuMs !== null && this.#limits !== undefined && cpuMs > this.#limits.cpuMs) return "cpu";
    return null;
  }

  usage(): { cpuMs: number | null; memoryBytesMax: number | null } {
    const cpu = this.#groups.get("cpu");
    const memory = this.#groups.get("memory");
    return {
      cpuMs:
        cpu === undefined
          ? null
          : cpu.version === 1
            ? readNumber(join(cpu.path, "cpuacct.usage")) / 1e6
            : readField(join(cpu.path, "cpu.stat"), "usage_usec") / 1e3,
      memoryBytesMax:
        memory === undefined
          ? null
          : readPeak(join(memory.path, memory.version === 1 ? "memory.max_usage_in_bytes" : "memory.peak")),
    };
  }

  async remove(): Promise<void> {
    const deadline = Date.now() + REMOVE_MS_MAX;
    for (const path of this.#paths()) {
      while (!tryRemove(path) && Date.now() < deadline) await sleep(2);
    }
  }

  #paths(): ReadonlySet<string> {
    return new Set([...this.#groups.values()].map((group) => group.path));
  }

  #writeLimits(limits: Limits): void {
    const memory = this.#groups.get("memory");
    const processes = this.#groups.get("processes");
    const bytes = String(limits.memoryBytes);
    if (memory?.version === 1) {
      writeFileSync(join(memory.path, "memory.limit_in_bytes"), bytes);
      writeIfPresent(join(memory.path, "memory.memsw.limit_in_bytes"), bytes);
    } else if (memory !== undefined) {
      writeFileSync(join(memory.path, "memory.max"), bytes);
      writeIfPresent(join(memory.path, "memory.swap.max"), "0");
      writeIfPresent(join(memory.path, "memory.oom.group"), "1");
    }
    if (processes !== undefined) {
      writeFileSync(join(processes.path, "pids.max"), String(limits.processes + SANDBOX_TASKS));
    }
  }

  #control(
    name: Limited,
    limits: Limits,
    membership: string,
    files: (version: 1 | 2) => readonly string[],
  ): Control {
    const group = this.#groups.get(name);
    if (group === undefined)
      return { state: "unavailable", basis: "verified", evidence: "no cgroup controller" };
    const leaf = group.path.slice(group.path.lastIndexOf("/"));
    const inside = membership.split("\n").some((line) => line.endsWith(leaf));
    const read = files(group.version).map((file) => [file, readNumber(join(group.path, file))] as const);
    const asked = name === "memory" ? limits.memoryBytes : limits.processes + SANDBOX_TASKS;
    const kept = read.every(([, value]) => value <= asked);
    const shown = read.map(([file, value]) => `${file} ${value}`);
    if (name === "cpu") shown.push(`counted, killed past ${limits.cpuMs} ms`);
    return {
      state: inside && kept ? "enforced" : "unavailable",
      basis: "verified",
      evidence: `cgroup v${group.version} ${leaf.slice(1)}: ${inside ? shown.join(", ") : "the sandbox is not in it"}`,
    };
  }

  #count(name: Limited, files: Readonly<Record<1 | 2, string>>, field: string): number {
    const group = this.#groups.get(name);
    if (group === undefined) return 0;
    return readField(join(group.path, files[group.version]), field);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function tryRemove(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

function readNumber(path: string): number {
  return Number(readFileSync(path, "utf8").trim());
}

/** `memory.peak` came with Linux 5.19. */
function readPeak(path: string): number | null {
  return existsSync(path) ? readNumber(path) : null;
}

function readField(path: string, field: string): number {
  const line = readFileSync(path, "utf8")
    .split("\n")
    .find((candidate) => candidate.startsWith(`${field} `));
  return line === undefined ? 0 : Number(line.slice(field.length + 1));
}

/** For files that older kernels or builds without swap accounting lack. */
function writeIfPresent(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    if (!["ENOENT", "EACCES", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
  }
}
