import { isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";
import { GateError } from "../contract/errors.ts";
import type { Network, NetworkRule } from "../contract/network.ts";
import { CLASS_IN, type DnsQuery, encodeReply, parseQuery, RCODE, TYPE } from "./dns-message.ts";
import { type Listening, RESOLVER_ADDRESS } from "./guard.ts";
import { mayReach, whyNotPublic } from "./special-addresses.ts";

/** Names that may be asked for below one wildcard, in a sandbox's life. */
export const WILDCARD_RESERVE = 16;
/** Names beside the rules', in a learning run. */
export const OBSERVED_RESERVE = 64;
/** Where those are listened for: the web, SSH, SMTP, git and the databases that tools ask for. */
export const OBSERVED_PORTS: readonly number[] = [
  ...[21, 22, 25, 80, 443, 3306, 5432, 6379, 8080, 8443, 9418, 27017],
];
/** Each is a descriptor of the gateway's, and words to the guard. */
export const LISTENERS_MAX = 2_048;
/** Refused names that are told of, each once; one more tells that there were more. */
export const REFUSED_NAMES_MAX = 1_000;

type Judged =
  | { readonly verdict: "allowed" | "observed" }
  | { readonly verdict: "refused"; readonly why: string };
export type Looked =
  | { readonly verdict: "allowed" | "observed"; readonly address: string }
  | { readonly verdict: "refused"; readonly why: string };

/** A host as rules write it, the addresses that are kept for it, and what stands behind its ports. */
interface Group {
  readonly verdict: "allowed" | "observed";
  readonly addresses: readonly string[];
  readonly rules: Map<number, NetworkRule>;
  /** Its names so far, in the order of `addresses`. */
  readonly names: string[];
}

/**
 * Which address stands for which name inside of one sandbox. A name keeps its address for the sandbox's life, and no
 * address ever stands for a second name. Where several rules' hosts fit a name the most specific decides alone: the
 * name itself, then the longest wildcard.
 */
export class NameTable {
  /** Addresses that rules name themselves. What they need inside beside loopback's, which are there, is a route. */
  readonly literals: readonly string[];
  readonly #groups = new Map<string, Group>();
  readonly #byAddress = new Map<string, { readonly group: Group; readonly index: number }>();
  readonly #addressOf = new Map<string, string>();
  readonly #observed: Group | undefined;
  /** What a learning run does with connections that no rule is about. */
  readonly observe: "refuse" | "allow" | undefined;
  readonly #refused = new Set<string>();
  #next = toNumber(RESOLVER_ADDRESS) + 1;

  /** @throws GateError `ERR_CONFIG_INVALID` where the rules contradict each other or are too many. */
  constructor(
    rules: readonly NetworkRule[],
    observe?: Extract<Network, { readonly mode: "names" }>["observe"],
  ) {
    this.observe = observe;
    for (const rule of rules) {
      const group = this.#groups.get(rule.host) ?? this.#add(rule);
      for (const port of rule.ports) {
        if (group.rules.has(port)) throw invalid(`two rules are about port ${port} of \`${rule.host}\``);
        group.rules.set(port, rule);
      }
    }
    if (observe !== undefined) this.#observed = this.#reserve("observed", OBSERVED_RESERVE);
    this.literals = [...this.#groups.keys()].filter((host) => isIPv4(host) && !host.startsWith("127."));
    const count = this.listeners().length;
    if (count > LISTENERS_MAX)
      throw invalid(
        `the network's rules need ${count} listeners, and ${LISTENERS_MAX} are the most`,
        "name fewer hosts or ports; a wildcard counts as 16 hosts",
      );
  }

  /** All that has to listen inside. */
  listeners(): readonly Listening[] {
    return [...this.#byAddress].flatMap(([address, { group }]) => {
      const ports = group.verdict === "observed" ? OBSERVED_PORTS : [...group.rules.keys()];
      return ports.map((port) => ({ address, port }));
    });
  }

  /** What stands for the name of a host, in lower case. A wildcard's and an observed one get their address here. */
  lookup(name: string): Looked {
    const host = withoutDot(name);
    const bound = this.#addressOf.get(host);
    const found = this.#find(host);
    if ("why" in found) return { verdict: "refused", why: found.why };
    const { group } = found;
    const address = bound ?? group.addresses[group.names.length];
    if (address === undefined) throw new Error("a group without a free address was found");
    if (bound === undefined) {
      group.names.push(host);
      this.#addressOf.set(host, address);
    }
    return { verdict: group.verdict, address };
  }

  /** The same without giving it an address. */
  judge(name: string): Judged {
    const found = this.#find(withoutDot(name));
    return "why" in found ? { verdict: "refused", why: found.why } : { verdict: found.group.verdict };
  }

  /**
   * What a connection made inside is about. No rule with a name: a learning run that lets none pass saw it. Undefined:
   * the address stands for nothing (yet), or not on this port.
   */
  ruleFor(
    address: string,
    port: number,
  ): { readonly rule: NetworkRule | undefined; readonly name: string } | undefined {
    const place = this.#byAddress.get(address);
    const name = place?.group.names[place.index];
    if (place === undefined || name === undefined) return undefined;
    const rule = place.group.rules.get(port);
    if (rule !== undefined) return { rule, name };
    if (place.group.verdict !== "observed" || !OBSERVED_PORTS.includes(port)) return undefined;
    return {
      rule: this.observe === "allow" ? { host: name, ports: [port], protocol: "tcp" } : undefined,
      name,
    };
  }

  /** Whether a rule writes it out: nothing can be told by asking for it. */
  isExact(name: string): boolean {
    return this.#groups.has(withoutDot(name));
  }

  /** What to tell of a refused name: nothing where it was told before, and nothing more once there were too many. */
  refuse(name: string, why: string): { readonly name: string; readonly why: string } | undefined {
    if (this.#refused.has(name) || this.#refused.size > REFUSED_NAMES_MAX) return undefined;
    this.#refused.add(name);
    if (this.#refused.size <= REFUSED_NAMES_MAX) return { name, why };
    return { name, why: `more than ${REFUSED_NAMES_MAX} names were refused, and no others are recorded` };
  }

  #find(host: string): { readonly group: Group } | { readonly why: string } {
    if (isIPv4(host)) return { why: "an address, not a name" };
    const exact = this.#groups.get(host);
    if (exact !== undefined) return { group: exact };
    if (!host.includes(".")) return { why: "a name without a dot" };
    const group = this.#wildcardOf(host) ?? this.#observed;
    if (group === undefined) return { why: "no rule names it" };
    if (this.#addressOf.has(host) || group.names.length < group.addresses.length) return { group };
    const [count, where] = [group.addresses.length, group === this.#observed ? "learning run" : "wildcard"];
    return { why: `more than ${count} names in one ${where}` };
  }

  #wildcardOf(host: string): Group | undefined {
    for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
      const group = dot === 0 ? undefined : this.#groups.get(`*${host.slice(dot)}`);
      if (group !== undefined) return group;
    }
    return undefined;
  }

  #add(rule: NetworkRule): Group {
    const { host } = rule;
    const group = isIPv4(host)
      ? this.#literal(host)
      : this.#reserve("allowed", host.startsWith("*.") ? WILDCARD_RESERVE : 1);
    this.#groups.set(host, group);
    if (host.startsWith("*.")) return group;
    group.names.push(host);
    this.#addressOf.set(host, group.addresses[0] ?? "");
    return group;
  }

  /** Refused here already where no rule may reach it: a listener on 0.0.0.0 or on a name's address takes others' place. */
  #literal(address: string): Group {
    if (!mayReach(address, true))
      throw invalid(
        `a rule names ${address}, which is ${whyNotPublic(address)}`,
        "name a host that may be reached",
      );
    return this.#place("allowed", [address]);
  }

  #reserve(verdict: Group["verdict"], count: number): Group {
    const addresses = Array.from({ length: count }, (_, index) => toAddress(this.#next + index));
    this.#next += count;
    return this.#place(verdict, addresses);
  }

  #place(verdict: Group["verdict"], addresses: readonly string[]): Group {
    const group: Group = { verdict, addresses, rules: new Map(), names: [] };
    for (const [index, address] of addresses.entries()) this.#byAddress.set(address, { group, index });
    return group;
  }
}

/** What is told while names are answered. */
export interface NameEvents {
  readonly onRefused: (name: string, why: string) => void;
  /** Of a name that a rule writes out, when its address was asked for: a connection is likely to follow. */
  readonly onAllowed?: (name: string) => void;
}

/**
 * The gate's answer to one datagram. Only what stands in the table is answered, with an address where one was asked
 * for; nothing is ever asked elsewhere, so a question carries nothing out.
 * @param onRefused told once of every name, however often and for whatever types it is asked for.
 */
export function answer(
  message: Uint8Array,
  table: NameTable,
  { onRefused, onAllowed }: NameEvents,
): Uint8Array | undefined {
  const parsed = parseQuery(message);
  if (parsed.kind === "silence") return undefined;
  if (parsed.kind === "reply") return parsed.reply;
  const { query } = parsed;
  const tell = (why: string): void => {
    const told = table.refuse(query.shown, why);
    if (told !== undefined) onRefused(told.name, told.why);
  };
  const found = find(query, table);
  if (found.verdict === "refused") tell(found.why);
  else if (found.verdict === "observed" && table.observe === "refuse") tell("no rule names it");
  if (query.class !== CLASS_IN) return encodeReply(query, RCODE.REFUSED);
  if (found.verdict === "refused") return encodeReply(query, RCODE.NXDOMAIN);
  if (query.type === TYPE.AXFR || query.type === TYPE.IXFR) return encodeReply(query, RCODE.REFUSED);
  if (!("address" in found)) return encodeReply(query, RCODE.NOERROR, []);
  if (found.verdict === "allowed" && table.isExact(query.shown)) onAllowed?.(query.shown);
  return encodeReply(query, RCODE.NOERROR, [found.address]);
}

function find({ hostname, type, class: of }: DnsQuery, table: NameTable): Judged | Looked {
  if (hostname === undefined) return { verdict: "refused", why: "not the name of a host" };
  // Only who asks for an address gets one: other questions would use a wildcard's reserve up.
  return of === CLASS_IN && type === TYPE.A ? table.lookup(hostname) : table.judge(hostname);
}

function withoutDot(name: string): string {
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

function toNumber(address: string): number {
  return Buffer.from(ipaddr.IPv4.parse(address).octets).readUInt32BE();
}

/** INVARIANT: within the block inside: a host needs a listener at least, and `LISTENERS_MAX` is far below its size. */
function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join(".");
}

function invalid(message: string, remedy = "join them into one rule"): GateError {
  return new GateError("ERR_CONFIG_INVALID", message, { remedy });
}
