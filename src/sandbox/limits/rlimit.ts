import { readFileSync } from "node:fs";
import type { Control } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";
import type { LimitBackend, Limited, LimitGroup } from "./backend.ts";

/**
 * Where no cgroup can be had. The launcher sets the rlimits; they bound each process (memory, processor time)
 * or each user (processes) rather than the tree, so the evidence says `weaker` and a tier that needs a cgroup refuses.
 */
export class RlimitBackend implements LimitBackend {
  readonly name = "rlimit";

  create(limits: Limits): LimitGroup {
    return new RlimitGroup(limits);
  }
}

class RlimitGroup implements LimitGroup {
  readonly enforces: ReadonlySet<Limited> = new Set();
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  async enter(): Promise<void> {}

  holds(): boolean {
    return true;
  }

  evidence(pid: number): Readonly<Record<Limited, Control>> {
    const text = readFileSync(`/proc/${pid}/limits`, "utf8");
    return {
      memory: rlimitControl(text, "Max data size", this.#limits.memoryBytes, "per process"),
      processes: rlimitControl(text, "Max processes", this.#limits.processes + SANDBOX_TASKS, "per user"),
      cpu: rlimitControl(text, "Max cpu time", cpuSeconds(this.#limits) + 1, "per process"),
    };
  }

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

/** The rlimit that backs the processor limit, whole seconds, rounded up. */
export function cpuSeconds(limits: Limits): number {
  return Math.ceil(limits.cpuMs / 1000);
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
