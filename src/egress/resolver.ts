import { type LookupAddress, lookup } from "node:dns";
import { Resolver as DnsResolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "./visit.ts";

/** How long a name may take: what is slower is treated as a name that does not exist. */
export const RESOLVE_MS_MAX = 5_000;
/** A name that does not resolve is misspelled, or known to other servers than were asked. */
const UNRESOLVED_REMEDY =
  "check its spelling, and the name servers: `egress: { resolvers: [ADDRESS] }` in callgate.yaml, else this host's own";
/** RFC 8305 section 3: how long addresses of A wait for those of AAAA. */
export const RESOLUTION_DELAY_MS = 50;
/** nsswitch.conf(5): those that resolv.conf speaks of, and those that only know this machine and its link. */
const NAME_SERVER_SOURCES: readonly string[] = [
  ...["files", "dns", "myhostname", "mdns_minimal", "mdns4_minimal", "mdns6_minimal"],
];
/** RFC 6762 3: names of the link, which name servers do not know. */
const LINK = ".local";
const NO_SUCH_NAME: readonly string[] = ["ENOTFOUND", "ENODATA"];

/** Asks for a name's real addresses, outside of every sandbox. Nothing is kept: a connection resolves once. */
export interface Resolver {
  /**
   * @param name lower case, fully qualified, without a dot at its end
   * @returns addresses as they were answered, not checked.
   * @throws Refusal where there is none, or none in time.
   */
  resolve(name: string, signal: AbortSignal): Promise<readonly string[]>;
}

export interface ResolverOptions {
  readonly resolveMsMax?: number;
}

export interface SystemFiles {
  /** hosts(5); unset: the system's. */
  readonly hosts?: string;
  /** nsswitch.conf(5); unset: the system's. */
  readonly sources?: string;
}

/**
 * The host's own way to resolve names: its hosts file, then its name servers (resolv.conf(5)). Where it knows another
 * way, getaddrinfo(3), which goes it: it cannot be stopped, and two at a time is all that Node gives it, so that names
 * whose servers stall hold up those of other callers.
 */
export function systemResolver(options: ResolverOptions & SystemFiles = {}): Resolver {
  const { hosts = "/etc/hosts", sources = "/etc/nsswitch.conf", resolveMsMax = RESOLVE_MS_MAX } = options;
  return {
    async resolve(name, signal) {
      const listed = await hostsFileAddresses(hosts, name);
      if (listed.length > 0) return listed;
      // A dot at the end keeps the search list away, which could make another name of it.
      if (!name.endsWith(LINK) && (await asksNameServers(sources)))
        return await askServers(name, signal, resolveMsMax);
      return await within(lookupAll(`${name}.`), { name, signal, resolveMsMax });
    },
  };
}

/** Asks these servers, as `address` or `address:port`. */
export function serversResolver(servers: readonly string[], options: ResolverOptions = {}): Resolver {
  const { resolveMsMax = RESOLVE_MS_MAX } = options;
  return { resolve: async (name, signal) => await askServers(name, signal, resolveMsMax, servers) };
}

/** @param servers unset: those of resolv.conf(5), as it is now */
async function askServers(
  name: string,
  signal: AbortSignal,
  resolveMsMax: number,
  servers?: readonly string[],
): Promise<string[]> {
  // One of its own for every name, so that giving one up leaves the others alone.
  const resolver = new DnsResolver({ timeout: Math.ceil(resolveMsMax / 2), tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  try {
    return await within(askBoth(resolver, `${name}.`), { name, signal, resolveMsMax });
  } finally {
    resolver.cancel();
  }
}

/**
 * Waits for both families; for AAAA only `RESOLUTION_DELAY_MS` once A has addresses. Name servers that are silent are
 * silent about AAAA, and a host without IPv6 needs A.
 */
async function askBoth(resolver: DnsResolver, name: string): Promise<string[]> {
  const found: string[][] = [[], []];
  const failures: unknown[] = [];
  const [six, four] = [resolver.resolve6(name), resolver.resolve4(name)].map(async (answer, family) => {
    try {
      const some = await answer;
      // An alias without addresses of that family is no failure to c-ares.
      if (some.length === 0) throw Object.assign(new Error("no data"), { code: "ENODATA" });
      found[family] = some;
    } catch (error) {
      failures.push(error);
      throw error;
    }
  });
  const all = Promise.allSettled([six, four]);
  const soon = four?.then(() => sleep(RESOLUTION_DELAY_MS, undefined, { ref: false }));
  await Promise.race([all, soon?.catch(() => all)]);
  const addresses = found.flat();
  if (addresses.length > 0) return addresses;
  throw failures.find((error) => !isNoSuchName(error)) ?? failures[0];
}

function lookupAll(name: string): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  lookup(name, { all: true, order: "verbatim" }, (error, addresses: LookupAddress[]) => {
    if (error === null) resolve(addresses.map(({ address }) => address));
    else reject(error);
  });
  return promise;
}

/** Whether the hosts file and name servers are all that could know a name of the outside. */
async function asksNameServers(file: string): Promise<boolean> {
  const text = await readFile(file, "utf8").catch(() => "");
  const [, listed = ""] = /^\s*hosts:([^#\n]*)/m.exec(text) ?? [];
  const sources = listed
    .replace(/\[[^\]]*\]/g, " ")
    .split(/\s+/)
    .filter((source) => source !== "");
  return sources.includes("dns") && sources.every((source) => NAME_SERVER_SOURCES.includes(source));
}

/** hosts(5). A file that cannot be read lists nothing. */
async function hostsFileAddresses(file: string, name: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    return isIP(address) !== 0 && names.some((one) => one.toLowerCase() === name) ? [address] : [];
  });
}

interface Waiting {
  readonly name: string;
  readonly signal: AbortSignal;
  readonly resolveMsMax: number;
}

/** What was found, in time, or words that name nothing but the name. */
async function within(asked: Promise<string[]>, waiting: Waiting): Promise<string[]> {
  const { name, signal, resolveMsMax } = waiting;
  const stopped = Promise.withResolvers<never>();
  const stop = (why: string): void => stopped.reject(new Refusal(why));
  const onAbort = (): void => stop(`${name} was given up while it was resolved`);
  const timer = setTimeout(() => stop(`${name} was not resolved within ${resolveMsMax} ms`), resolveMsMax);
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([asked, stopped.promise]);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(whyUnresolved(name, error), { cause: error, remedy: UNRESOLVED_REMEDY });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function isNoSuchName(error: unknown): boolean {
  return NO_SUCH_NAME.includes((error as NodeJS.ErrnoException).code ?? "");
}

function whyUnresolved(name: string, error: unknown): string {
  const { code = "no reason" } = error as NodeJS.ErrnoException;
  if (isNoSuchName(error)) return `${name} has no address`;
  return `${name} could not be resolved (${code})`;
}
