import { GateError } from "../../contract/errors.ts";
import type { Control, KilledBy } from "../../contract/execution.ts";
import type { Limits } from "../../contract/profile.ts";

/** The controls a limit group can stand for. */
export const LIMITED = ["memory", "processes", "cpu"] as const;
export type Limited = (typeof LIMITED)[number];

/** One way of bounding a tree of processes. */
export interface LimitBackend {
  /** `cgroup v2`, `cgroup v1`, `cgroup hybrid` or `rlimit`. */
  readonly name: string;
  /** Makes an empty group without limits: one can be made before it is known what will run in it. */
  create(): LimitGroup;
}

export interface LimitGroup {
  /** Which limits this group enforces for the whole tree; the others are left to rlimits. */
  readonly enforces: ReadonlySet<Limited>;
  /** Writes the limits, before the tool is let in. @throws GateError `ERR_CONTROL_UNAVAILABLE` for one that cannot be. */
  limit(limits: Limits): void;
  /**
   * Puts a process in, and with it all that it starts from then on. The kernel takes milliseconds over it, so a sandbox
   * is put in while it is being built.
   */
  enter(pid: number): Promise<void>;
  /** Whether a process is in, whole. */
  holds(pid: number): boolean;
  /** Reads the limits and the membership back from the kernel. */
  evidence(pid: number): Readonly<Record<Limited, Control>>;
  /** The tool is let in: processor time that the group used until now built the sandbox, and is not the tool's. */
  begin(): void;
  /** Which limit was met: processor time since `begin`, memory and processes since the group was made. */
  breached(): KilledBy | null;
  /** Processor time since `begin`; memory since the group was made. */
  usage(): { readonly cpuMs: number | null; readonly memoryBytesMax: number | null };
  /** Removes the group; waits for the kernel to let go of dead processes. */
  remove(): Promise<void>;
}

/** The evidence of a group whose limits were never written. */
export function noLimits(): Readonly<Record<Limited, Control>> {
  const none: Control = { state: "unavailable", basis: "verified", evidence: "no limits were written" };
  return { memory: none, processes: none, cpu: none };
}

/** @throws GateError `ERR_CONTROL_UNAVAILABLE` naming what no cgroup of this group bounds. */
export function requireTreeLimits(group: LimitGroup): void {
  const missing = LIMITED.filter((limited) => !group.enforces.has(limited));
  if (missing.length === 0) return;
  throw new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `no cgroup bounds ${missing.join(", ")} here, and this tier needs one`,
    {
      remedy:
        "run the gateway as root, or under a delegated cgroup v2 (systemd-run --user --scope -p Delegate=yes)",
    },
  );
}
