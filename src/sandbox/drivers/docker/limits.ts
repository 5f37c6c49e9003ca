import { join } from "node:path";
import type { Control, KilledBy } from "../../../contract/execution.ts";
import type { Limits } from "../../../contract/profile.ts";
import { LIMITED, type Limited, type LimitGroup } from "../../limits/backend.ts";
import { readField, readNumber, readNumberIfPresent } from "../../limits/cgroup-files.ts";
import type { Controlled, ControllerHome } from "../../limits/cgroup-group.ts";
import { groupsOf } from "../../limits/detect.ts";
import { SANDBOX_TASKS } from "../../limits/rlimit.ts";
import { readShare } from "../../limits/share.ts";

const LIMIT_FILES = {
  memory: { 1: "memory.limit_in_bytes", 2: "memory.max" },
  processes: { 1: "pids.max", 2: "pids.max" },
} as const;
const KILL_FILES = { 1: "memory.oom_control", 2: "memory.events" } as const;
const PEAK_FILES = { 1: "memory.max_usage_in_bytes", 2: "memory.peak" } as const;

interface Reading {
  readonly breached: KilledBy | null;
  readonly cpuMs: number | null;
  readonly memoryBytesMax: number | null;
}

/**
 * The cgroup that the daemon made, read from outside. It goes with the container, so the last reading is taken while
 * the container is still there, and kept.
 */
export class ContainerLimits implements LimitGroup {
  readonly enforces: ReadonlySet<Limited>;
  readonly #groups: ReadonlyMap<Controlled, ControllerHome>;
  readonly #limits: Limits;
  readonly #hasEnded: () => boolean;
  readonly #refusedBefore: number;
  #cpuMsBefore = 0;
  #kept: Reading = { breached: null, cpuMs: null, memoryBytesMax: null };
  #isOver = false;

  /**
   * @param init the container's first process, as the host counts it.
   * @param hasEnded whether that process is gone.
   */
  constructor(init: number, limits: Limits, hasEnded: () => boolean) {
    this.#hasEnded = hasEnded;
    this.#groups = groupsOf(init);
    this.enforces = new Set(LIMITED.filter((limited) => this.#groups.has(limited)));
    this.#limits = limits;
    // What the runtime itself started while it built the container is not the tool's; it may even have met a limit.
    this.#refusedBefore = this.#refusals();
  }

  /** The daemon wrote them when it made the container. */
  limit(): void {}

  async enter(): Promise<void> {}

  holds(pid: number): boolean {
    const seen = groupsOf(pid);
    return [...this.#groups].every(([controlled, { folder }]) => seen.get(controlled)?.folder === folder);
  }

  evidence(pid: number): Readonly<Record<Limited, Control>> {
    const inside = this.holds(pid);
    return {
      memory: this.#control("memory", inside, this.#limits.memoryBytes),
      processes: this.#control("processes", inside, this.#limits.processes + SANDBOX_TASKS),
      cpu: this.#cpuControl(inside),
    };
  }

  begin(): void {
    // Time that was read while it was being built is not the tool's. What was killed by then stays killed.
    const { breached, ...kept } = this.#kept;
    this.#kept = { ...kept, breached: breached === "cpu" ? null : breached, cpuMs: null };
    try {
      this.#cpuMsBefore = this.#cpuMs() ?? 0;
    } catch {
      // what cannot be read now is the tool's, and is found by the watch
    }
  }

  breached(): KilledBy | null {
    return this.#read().breached;
  }

  usage(): { readonly cpuMs: number | null; readonly memoryBytesMax: number | null } {
    const { cpuMs, memoryBytesMax } = this.#read();
    return { cpuMs, memoryBytesMax };
  }

  /** Takes the last reading: from here on the container is being ended. */
  settle(): void {
    if (this.#isOver) return;
    try {
      this.#read();
    } catch {
      // it ended by itself, and the daemon was faster: what was read before stands
    }
    this.#isOver = true;
  }

  /** It goes with the container. */
  async remove(): Promise<void> {}

  /** @throws where the cgroup of a container that lives cannot be read: then nothing bounds it. */
  #read(): Reading {
    if (this.#isOver) return this.#kept;
    try {
      this.#kept = this.#readNow();
    } catch (error) {
      if (!this.#hasEnded()) throw error;
    }
    return this.#kept;
  }

  #readNow(): Reading {
    const counted = this.#cpuMs();
    const cpuMs = counted === null ? null : counted - this.#cpuMsBefore;
    const memory = this.#groups.get("memory");
    return {
      breached: this.#breach(cpuMs),
      cpuMs,
      memoryBytesMax:
        memory === undefined ? null : readNumberIfPresent(join(memory.folder, PEAK_FILES[memory.version])),
    };
  }

  #breach(cpuMs: number | null): KilledBy | null {
    const memory = this.#groups.get("memory");
    if (memory !== undefined && readField(join(memory.folder, KILL_FILES[memory.version]), "oom_kill") > 0)
      return "memory";
    if (this.#refusals() > this.#refusedBefore) return "processes";
    return cpuMs !== null && cpuMs > this.#limits.cpuMs ? "cpu" : null;
  }

  /** How often a process or thread was refused. */
  #refusals(): number {
    const group = this.#groups.get("processes");
    return group === undefined ? 0 : readField(join(group.folder, "pids.events"), "max");
  }

  #cpuMs(): number | null {
    const group = this.#groups.get("cpu");
    if (group === undefined) return null;
    return group.version === 1
      ? readNumber(join(group.folder, "cpuacct.usage")) / 1e6
      : readField(join(group.folder, "cpu.stat"), "usage_usec") / 1e3;
  }

  #control(name: "memory" | "processes", inside: boolean, atMost: number): Control {
    const group = this.#groups.get(name);
    if (group === undefined) return control(false, "no cgroup controller");
    const file = LIMIT_FILES[name][group.version];
    const value = readNumber(join(group.folder, file));
    return ofGroup(group, inside, { kept: value <= atMost, shown: `${file} ${value}` });
  }

  #cpuControl(inside: boolean): Control {
    const [group, share] = [this.#groups.get("cpu"), this.#groups.get("share")];
    if (group === undefined || share === undefined) return control(false, "no cgroup controller");
    const { kept, shown } = readShare({ version: share.version, path: share.folder }, this.#limits);
    return ofGroup(group, inside, { kept, shown: `counted, killed past ${this.#limits.cpuMs} ms; ${shown}` });
  }
}

function ofGroup(
  { version }: ControllerHome,
  inside: boolean,
  { kept, shown }: { readonly kept: boolean; readonly shown: string },
): Control {
  return control(
    inside && kept,
    `the daemon's cgroup v${version}: ${inside ? shown : "the sandbox is not in it"}`,
  );
}

function control(holds: boolean, evidence: string): Control {
  return { state: holds ? "enforced" : "unavailable", basis: "verified", evidence };
}
