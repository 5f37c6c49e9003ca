import { existsSync, readFileSync, readlinkSync } from "node:fs";
import type { GuardedNamespace } from "./guard.ts";

/** What a namespace's kernel counted of attempts that never came to the gate. */
export interface Attempts {
  /** At addresses to which there is no route, by whatever protocol. */
  readonly unroutable: number;
  /**
   * At ports on which nobody listens. Those of the tool's own loopback are among them, and so are the resolver's
   * answers for which it did not wait.
   */
  readonly unheard: number;
}

export const NO_ATTEMPTS: Attempts = { unroutable: 0, unheard: 0 };

/**
 * Reads proc_net(5): `snmp` is pairs of lines, names and values, `snmp6` a line each (RFC 4293, 4022, 4113).
 * @returns zeros where its keeper is gone
 */
export function readAttempts({ pid, identity }: Pick<GuardedNamespace, "pid" | "identity">): Attempts {
  const counters = new Map<string, number>();
  try {
    const lines = readFileSync(`/proc/${pid}/net/snmp`, "utf8").trim().split("\n");
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [names = [], values = []] = [lines[i]?.split(" "), lines[i + 1]?.split(" ")];
      for (const [index, name] of names.entries()) counters.set(`${names[0]}${name}`, Number(values[index]));
    }
    for (const line of readOfIPv6(`/proc/${pid}/net/snmp6`).trim().split("\n")) {
      const [name = "", value] = line.split(/\s+/);
      counters.set(name, Number(value));
    }
    if (readlinkSync(`/proc/${pid}/ns/net`) !== identity) return NO_ATTEMPTS;
  } catch {
    return NO_ATTEMPTS;
  }
  const sum = (...names: readonly string[]): number =>
    names.reduce((total, name) => total + (counters.get(name) ?? 0), 0);
  return {
    unroutable: sum("Ip:OutNoRoutes", "Ip6OutNoRoutes"),
    unheard: sum("Tcp:AttemptFails", "Udp:NoPorts", "Udp6NoPorts"),
  };
}

/** A file of proc_net(5) that is not there where the kernel has no IPv6: it counts nothing. */
export function readOfIPv6(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
