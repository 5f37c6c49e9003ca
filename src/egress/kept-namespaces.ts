import { readFileSync, readlinkSync } from "node:fs";
import { readOfIPv6 } from "./attempts.ts";
import type { GuardedNamespace } from "./guard.ts";

/** How many namespaces are kept for further sandboxes. Each is a small process and a socket per listener. */
export const KEPT_MAX = 16;

/**
 * Namespaces whose sandbox is gone, for the next one of the same owner: making and clearing one takes the kernel's
 * lock on all of them, which many calls at a time wait for. What a tool could leave in one is a socket, and nothing is
 * kept in which there is one beside the gate's.
 */
export class KeptNamespaces implements AsyncDisposable {
  readonly #kept: { readonly owner: string; readonly space: GuardedNamespace }[] = [];
  #closed = false;

  /** @param owner whose sandboxes may follow each other in one: who calls, which tool, which listeners */
  take(owner: string): GuardedNamespace | undefined {
    const at = this.#kept.findIndex((one) => one.owner === owner && one.space.alive);
    return at < 0 ? undefined : this.#kept.splice(at, 1)[0]?.space;
  }

  /** Keeps it, or closes it: where its owner is undefined, where it is not as it was made, and the oldest of too many. */
  async giveBack(owner: string | undefined, space: GuardedNamespace): Promise<void> {
    if (owner === undefined || this.#closed || !isClean(space)) return await space[Symbol.asyncDispose]();
    const dead = this.#kept.filter((one) => !one.space.alive);
    for (const one of dead) this.#kept.splice(this.#kept.indexOf(one), 1);
    await Promise.all(dead.map((one) => one.space[Symbol.asyncDispose]()));
    this.#kept.push({ owner, space });
    if (this.#kept.length > KEPT_MAX) await this.#kept.shift()?.space[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#kept.splice(0).map(({ space }) => space[Symbol.asyncDispose]()));
  }
}

/** Whether the sockets in it are the gate's listeners and its resolver's, and no others (proc_net(5), `sockstat`). */
export function isClean({ pid, identity, servers }: GuardedNamespace): boolean {
  const counts = new Map<string, number>();
  try {
    const tables = [
      readFileSync(`/proc/${pid}/net/sockstat`, "utf8"),
      readOfIPv6(`/proc/${pid}/net/sockstat6`),
    ];
    for (const table of tables)
      for (const line of table.split("\n")) {
        const [, protocol, count] = /^(\w+): inuse (\d+)/.exec(line) ?? [];
        if (protocol !== undefined) counts.set(protocol, Number(count));
      }
    if (readlinkSync(`/proc/${pid}/ns/net`) !== identity) return false;
  } catch {
    return false; // its keeper is gone
  }
  const none = ["TCP6", "UDP6", "UDPLITE", "UDPLITE6", "RAW", "RAW6"];
  return (
    counts.get("TCP") === servers.size &&
    counts.get("UDP") === 1 &&
    none.every((protocol) => (counts.get(protocol) ?? 0) === 0)
  );
}
