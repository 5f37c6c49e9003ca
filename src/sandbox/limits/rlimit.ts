import { readFileSync } from "node:fs";
import type { Control } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";
import { type LimitBackend, type Limited, type LimitGroup, noLimits } from "./backend.ts";

/**
 * Where no cgroup can be had. The launcher sets the rlimits; they bound each process (memory, processor time)
 * or each user (processes) rather than the tree, so the evidence says `weaker` and a tier that needs a cgroup refuses.
 */
export class RlimitBackend implements LimitBackend {
  readonly name = "rlimit";

  create(): LimitGroup {
    return new RlimitGroup();
  }
}

class RlimitGroup implements LimitGroup {
  readonly enforces: ReadonlySet<Limited> = new Set();
  #limits: Limits | undefined;

  limit(limits: Limits): void {
    this.#limits = limits;
  }

  async enter(): Promise<void> {}

  holds(): boolean {
    return true;
  }

  evidence(pid: number): Readonly<Record<Limited, Control>> {
    const limits = this.#limits;
    if (limits === undefined) return noLimits();
    const text = readFileSync(`/proc/${pid}/limits`, "utf8");
    return {
      memory: rlimitControl(text, "Max data size", limits.memoryBytes, "per process"),
      processes: rlimitControl(text, "Max processes", limits.processes + SANDBOX_TASKS, "per user"),
      cpu: withoutShare(rlimitControl(text, "Max cpu time", cpuSeconds(limits) + 1, "per process")),
    };
  }

  /** Counted for each process by itself, from its own start. */
  begin(): void {}

  breached(): null {
    return null;
  }

  usage(): { cpuMs: null; memoryBytesMax: null } {
    return { cpuMs: null, memoryBytesMax: null };
  }

  async remove(): Promise<void> {}
}

/** Processes of ours beside a tool: bubblewrap outside, and its init inside. */
export const SANDBOX_TASKS = 2;

/** One rlimit of every process inside: bytes, seconds or a count. */
export interface Rlimit {
  readonly name: RlimitName;
  readonly soft: number;
  readonly hard: number;
}

export type RlimitName = "cpu" | "fileSize" | "data" | "core" | "processes" | "openFiles";

/** What a launcher sets: always those that bound one process, and the others where no cgroup bounds the tree. */
export function rlimitsFor(limits: Limits, enforced: ReadonlySet<Limited>): readonly Rlimit[] {
  const both = (name: RlimitName, value: number): Rlimit => ({ name, soft: value, hard: value });
  const rlimits = [
    both("core", 0),
    both("openFiles", limits.openFiles),
    both("fileSize", limits.fileSizeBytes),
    // The soft limit ends a process with SIGXCPU, which names itself; the hard one a second later does not.
    { name: "cpu", soft: cpuSeconds(limits), hard: cpuSeconds(limits) + 1 } as const,
  ];
  if (!enforced.has("memory")) rlimits.push(both("data", limits.memoryBytes));
  if (!enforced.has("processes")) rlimits.push(both("processes", limits.processes + SANDBOX_TASKS));
  return rlimits;
}

/** The rlimit that backs the processor limit, whole seconds, rounded up. */
export function cpuSeconds(limits: Limits): number {
  return Math.ceil(limits.cpuMs / 1000);
}

/** No rlimit bounds how fast processor time is used up. */
function withoutShare({ evidence, basis }: Control): Control {
  return { state: "unavailable", basis, evidence: `${evidence}; share unavailable: no cgroup` };
}

/** Reads one hard limit of `/proc/PID/limits`; enforced only when it is no higher than was asked. */
function rlimitControl(text: string, label: string, atMost: number, scope: string): Control {
  const line = text.split("\n").find((candidate) => candidate.startsWith(label));
  const hard = Number(line?.slice(label.length).trim().split(/\s+/)[1] ?? Number.NaN);
  const enforced = Number.isFinite(hard) && hard <= atMost;
  return {
    state: enforced ? "enforced" : "unavailable",
    basis: "verified",
    evidence: `rlimit ${label.toLowerCase()} ${Number.isFinite(hard) ? hard : "unlimited"} ${scope}, weaker than a cgroup`,
  };
}
