import { readFileSync } from "node:fs";

/**
 * Which process is at a call: `<boot id>:<pid>:<start time in ticks since boot>`. A pid alone is given out again;
 * with the time it started and the boot it started in it is not. Gateways that share a store share a machine, and
 * are expected to share a pid namespace: one in another container looks dead from here.
 */
export type Session = string;

/** This boot of the machine; a fresh random value each time. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** proc_pid_stat(5) field 22, or undefined where the process has ended. */
function startTicks(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name, field 2, is in parentheses and may hold anything, parentheses and spaces too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  return state === "Z" || state === "X" ? undefined : fields[22 - 3];
}

export function thisSession(): Session {
  return `${bootId()}:${process.pid}:${startTicks(process.pid)}`;
}

/** Whether the process of a session still runs. */
export function isAlive(session: Session): boolean {
  const [boot, pid, start] = session.split(":");
  return boot === bootId() && start !== undefined && startTicks(Number(pid)) === start;
}
