import { mkdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../../contract/errors.ts";
import type { Control, KilledBy } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";
import { LIMITED, type Limited, type LimitGroup, noLimits } from "./backend.ts";
import {
  isRemoved,
  listsProcess,
  readField,
  readNumber,
  readNumberIfPresent,
  tryRemove,
  writeIfPresent,
  writeLimit,
} from "./cgroup-files.ts";
import { SANDBOX_TASKS } from "./rlimit.ts";
import { readShare, writeShare } from "./share.ts";

/** What a group is made of. `cpu` counts processor time; `share` bounds it, which v1 keeps in a tree of its own. */
export type Controlled = Limited | "share";
export const CONTROLLED: readonly Controlled[] = [...LIMITED, "share"];

/** One controller where it lives: v1 gives each its own tree, v2 one tree for all. */
export interface ControllerHome {
  readonly version: 1 | 2;
  /** The folder in which groups are made. */
  readonly folder: string;
}

export type ControllerHomes = Readonly<Partial<Record<Controlled, ControllerHome>>>;

/** How long a dead sandbox's group may stay busy before it is left to the next start. */
const REMOVE_MS_MAX = 2_000;

interface Group {
  readonly version: 1 | 2;
  readonly path: string;
}

export class CgroupGroup implements LimitGroup {
  readonly enforces: ReadonlySet<Limited>;
  readonly #groups: ReadonlyMap<Controlled, Group>;
  readonly #paths: ReadonlySet<string>;
  readonly #name: string;
  #limits: Limits | undefined;
  #cpuMsBefore = 0;

  constructor(homes: ControllerHomes, name: string) {
    this.#name = name;
    const groups = new Map<Controlled, Group>();
    for (const controlled of CONTROLLED) {
      const home = homes[controlled];
      if (home !== undefined)
        groups.set(controlled, { version: home.version, path: join(home.folder, name) });
    }
    this.#groups = groups;
    this.#paths = new Set([...groups.values()].map((group) => group.path));
    // Time that is counted but not bounded as it passes is half of the limit.
    this.enforces = new Set(
      LIMITED.filter((limited) => groups.has(limited) && (limited !== "cpu" || groups.has("share"))),
    );
    try {
      for (const path of this.#paths) mkdirSync(path);
    } catch (cause) {
      for (const path of this.#paths) tryRemove(path);
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new GateError("ERR_CONTROL_UNAVAILABLE", `a cgroup could not be made: ${why}`, {
        cause,
        remedy: "run `callgate doctor`",
      });
    }
  }

  limit(limits: Limits): void {
    const memory = this.#groups.get("memory");
    const processes = this.#groups.get("processes");
    const share = this.#groups.get("share");
    const bytes = String(limits.memoryBytes);
    if (memory?.version === 1) {
      writeLimit(join(memory.path, "memory.limit_in_bytes"), bytes);
      writeIfPresent(join(memory.path, "memory.memsw.limit_in_bytes"), bytes);
    } else if (memory !== undefined) {
      writeLimit(join(memory.path, "memory.max"), bytes);
      writeIfPresent(join(memory.path, "memory.swap.max"), "0");
      writeIfPresent(join(memory.path, "memory.oom.group"), "1");
    }
    if (processes !== undefined)
      writeLimit(join(processes.path, "pids.max"), String(limits.processes + SANDBOX_TASKS));
    if (share !== undefined) writeShare(share, limits);
    this.#limits = limits;
  }

  async enter(pid: number): Promise<void> {
    await Promise.all([...this.#paths].map((path) => writeFile(join(path, "cgroup.procs"), String(pid))));
  }

  holds(pid: number): boolean {
    return [...this.#paths].every((path) => listsProcess(path, pid));
  }

  evidence(pid: number): Readonly<Record<Limited, Control>> {
    const limits = this.#limits;
    if (limits === undefined) return noLimits();
    return {
      memory: this.#control("memory", pid, ({ version, path }) => {
        const file = version === 1 ? "memory.limit_in_bytes" : "memory.max";
        const value = readNumber(join(path, file));
        return { kept: value <= limits.memoryBytes, shown: `${file} ${value}` };
      }),
      processes: this.#control("processes", pid, ({ path }) => {
        const value = readNumber(join(path, "pids.max"));
        return { kept: value <= limits.processes + SANDBOX_TASKS, shown: `pids.max ${value}` };
      }),
      cpu: this.#control("cpu", pid, () => {
        const { kept, shown } = this.#share(pid, limits);
        return { kept, shown: `counted, killed past ${limits.cpuMs} ms; ${shown}` };
      }),
    };
  }

  begin(): void {
    // What cannot be read now is the tool's, and is found by the watch.
    this.#cpuMsBefore = orNull(() => this.#cpuMsCounted()) ?? 0;
  }

  breached(): KilledBy | null {
    if (this.#count("memory", { 1: "memory.oom_control", 2: "memory.events" }, "oom_kill") > 0)
      return "memory";
    if (this.#count("processes", { 1: "pids.events", 2: "pids.events" }, "max") > 0) return "processes";
    const cpuMs = this.#cpuMs();
    if (cpuMs !== null && this.#limits !== undefined && cpuMs > this.#limits.cpuMs) return "cpu";
    return null;
  }

  usage(): { cpuMs: number | null; memoryBytesMax: number | null } {
    return { cpuMs: orNull(() => this.#cpuMs()), memoryBytesMax: orNull(() => this.#memoryBytesMax()) };
  }

  async remove(): Promise<void> {
    const deadline = Date.now() + REMOVE_MS_MAX;
    // In another thread: the kernel may take milliseconds over each.
    const removeOne = async (path: string): Promise<void> => {
      while (!(await isRemoved(path)) && Date.now() < deadline) await sleep(2);
    };
    await Promise.all([...this.#paths].map(removeOne));
  }

  #cpuMs(): number | null {
    const counted = this.#cpuMsCounted();
    return counted === null ? null : counted - this.#cpuMsBefore;
  }

  #cpuMsCounted(): number | null {
    const cpu = this.#groups.get("cpu");
    if (cpu === undefined) return null;
    return cpu.version === 1
      ? readNumber(join(cpu.path, "cpuacct.usage")) / 1e6
      : readField(join(cpu.path, "cpu.stat"), "usage_usec") / 1e3;
  }

  #memoryBytesMax(): number | null {
    const memory = this.#groups.get("memory");
    if (memory === undefined) return null;
    const file = memory.version === 1 ? "memory.max_usage_in_bytes" : "memory.peak";
    return readNumberIfPresent(join(memory.path, file));
  }

  #share(pid: number, limits: Limits): { readonly kept: boolean; readonly shown: string } {
    const share = this.#groups.get("share");
    if (share === undefined)
      return { kept: false, shown: "share unavailable: no cpu controller is writable" };
    if (!listsProcess(share.path, pid)) return { kept: false, shown: "the sandbox has no share of its own" };
    return readShare(share, limits);
  }

  #control(
    name: Limited,
    pid: number,
    read: (group: Group) => { readonly kept: boolean; readonly shown: string },
  ): Control {
    const group = this.#groups.get(name);
    if (group === undefined) return unavailable("no cgroup controller");
    const where = `cgroup v${group.version} ${this.#name}`;
    try {
      if (!listsProcess(group.path, pid)) return unavailable(`${where}: the sandbox is not in it`);
      const { kept, shown } = read(group);
      const evidence = `${where}: ${shown}`;
      return kept ? { state: "enforced", basis: "verified", evidence } : unavailable(evidence);
    } catch (error) {
      return unavailable(`${where} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
    }
  }

  #count(name: Limited, files: Readonly<Record<1 | 2, string>>, field: string): number {
    const group = this.#groups.get(name);
    if (group === undefined) return 0;
    return readField(join(group.path, files[group.version]), field);
  }
}

function unavailable(evidence: string): Control {
  return { state: "unavailable", basis: "verified", evidence };
}

/** A group that somebody removed has nothing to tell; that it was removed is found by the watch. */
function orNull(read: () => number | null): number | null {
  try {
    return read();
  } catch {
    return null;
  }
}
