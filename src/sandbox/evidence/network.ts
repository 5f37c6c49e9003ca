import { existsSync, readFileSync, readlinkSync } from "node:fs";
import type { Control } from "../../contract/execution.ts";
import type { JoinedNetwork } from "../driver.ts";
import { verified } from "./process.ts";

/** proc_net_tcp(5): the state of a socket that listens, and of a UDP socket that is connected to nobody. */
const LISTENS = "0A";
const UNCONNECTED = "07";
/** Routes of every namespace's own loopback. */
const LOOPBACK = ["127.0.0.0/8", "127.0.0.0/32", "127.0.0.1/32", "127.255.255.255/32"];
/** What stands for names (RFC 2544). */
const NAMES = "198.18.0.0/15";

/**
 * The namespace that the gate made for this sandbox and nobody else's: one device, no way out, and as many sockets as
 * the gate has in it, which holds each of them itself.
 */
export function guardedNetwork(pid: number, asked: JoinedNetwork, note = ""): Control {
  const faults: string[] = [];
  const own = readlinkSync(`/proc/${pid}/ns/net`);
  if (own === readlinkSync("/proc/self/ns/net")) faults.push("it is the host's namespace");
  if (own !== asked.identity) faults.push("it is not the namespace that was made for it");
  const devices = devicesOf(pid);
  if (devices.join() !== "lo") faults.push(`devices: ${devices.join(", ")}`);
  const held = heldSockets(pid);
  const others = ["TCP6", "UDP6", "RAW", "RAW6"].filter((name) => (held.get(name) ?? 0) !== 0);
  if (held.get("TCP") !== asked.listeners.length || others.length > 0) faults.push(listenersOf(pid, others));
  const datagrams = [...sockets(pid, "udp", UNCONNECTED), ...sockets(pid, "udp6", UNCONNECTED)];
  if (datagrams.join() !== `${asked.resolver}:53`) faults.push(`UDP: ${datagrams.join(", ") || "none"}`);
  const literals = asked.listeners.map((listener) => `${listener.split(":")[0]}/32`);
  const known = new Set([...LOOPBACK, NAMES, ...literals]);
  const foreign = routesOf(pid).filter((route) => !known.has(route));
  if (foreign.length > 0) faults.push(`routes: ${foreign.join(", ")}`);
  const foreign6 = tableOf(pid, "ipv6_route", 0).filter((line) => !/\blo$/.test(line));
  if (foreign6.length > 0) faults.push(`IPv6 routes: ${foreign6.length} that lead elsewhere than to lo`);
  const { length } = asked.listeners;
  const seen = `own namespace ${/\d+/.exec(own)?.[0]}, devices: lo, ${length} ${length === 1 ? "listener" : "listeners"} of the gate, resolver ${asked.resolver}`;
  return verified(faults.length === 0, faults.length === 0 ? `${seen}${note}` : faults.join("; "));
}

function devicesOf(pid: number): readonly string[] {
  return tableOf(pid, "dev", 2).map((line) => line.split(":")[0]?.trim() ?? "");
}

function tableOf(pid: number, name: string, headings: number): readonly string[] {
  const path = `/proc/${pid}/net/${name}`;
  // A kernel without IPv6 has none of its tables.
  if (name.includes("6") && !existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.slice(headings).filter((line) => line.trim() !== "");
}

/**
 * How many sockets of each protocol there are in its network (`sockstat`, `sockstat6`). The tables that name them hold
 * those of the whole host, and the kernel takes milliseconds to leave the others out.
 */
function heldSockets(pid: number): ReadonlyMap<string, number> {
  const lines = [...tableOf(pid, "sockstat", 0), ...tableOf(pid, "sockstat6", 0)];
  return new Map(
    lines.flatMap((line) => {
      const [, name, count] = /^(\w+): inuse (\d+)/.exec(line) ?? [];
      return name === undefined ? [] : [[name, Number(count)] as const];
    }),
  );
}

/** For words about a fault there is time. */
function listenersOf(pid: number, others: readonly string[]): string {
  const found = [...sockets(pid, "tcp", LISTENS), ...sockets(pid, "tcp6", LISTENS)].sort();
  const kinds = others.filter((name) => name !== "TCP6").map((name) => `; sockets of ${name}`);
  return `listeners: ${found.join(", ") || "none"}${kinds.join("")}`;
}

/** `address:port` of the sockets in a state. */
function sockets(pid: number, protocol: string, state: string): readonly string[] {
  return tableOf(pid, protocol, 1).flatMap((line) => {
    const [, local = "", , found] = line.trim().split(/\s+/);
    const [address = "", port = ""] = local.split(":");
    return found === state ? [`${addressOf(address)}:${Number.parseInt(port, 16)}`] : [];
  });
}

/** proc_net_tcp(5): as the kernel holds it, which on these machines is the last octet first. */
function addressOf(hex: string): string {
  const octets = hex.match(/../g) ?? [];
  return octets.length === 4
    ? octets
        .toReversed()
        .map((octet) => Number.parseInt(octet, 16))
        .join(".")
    : hex;
}

/** Destinations in `/proc/PID/net/fib_trie`: a line with an address, then lines that say how long its prefix is. */
function routesOf(pid: number): readonly string[] {
  const routes = new Set<string>();
  let address = "";
  for (const line of tableOf(pid, "fib_trie", 0)) {
    address = /\|-- (\S+)/.exec(line)?.[1] ?? address;
    const bits = /^\s*\/(\d+) /.exec(line)?.[1];
    if (bits !== undefined) routes.add(`${address}/${bits}`);
  }
  return [...routes];
}
