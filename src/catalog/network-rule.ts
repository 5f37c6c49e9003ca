import { createRequire } from "node:module";
import { domainToASCII } from "node:url";
import { GateError } from "../contract/errors.ts";
import type { NetworkProtocol, NetworkRule } from "../contract/network.ts";

export const RULES_MAX = 64;
export const PORTS_MAX = 16;
export const HTTP_RULES_MAX = 64;
/** RFC 1035 2.3.4. */
const HOST_LENGTH_MAX = 253;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PORT_MAX = 65_535;
const TLS_PORT = 443;
const HTTP_PORT = 80;
/** Where TLS is what is spoken, when nothing else is said. */
const TLS_PORTS: readonly number[] = [TLS_PORT, 8443];
/** Blocks that are somebody else's inside of a sandbox, or nobody's: the tool's own loopback, and what stands for names. */
const NOT_LITERAL = /^(?:0|127|22[4-9]|23\d|24\d|25[0-5])\.|^198\.1[89]\./;

/** A rule as it is written, its defaults not filled in. */
export interface WrittenRule {
  readonly host: string;
  readonly ports?: readonly number[];
  readonly protocol?: NetworkProtocol;
  readonly http?: NetworkRule["http"];
  readonly credential?: string;
  readonly allowPrivate?: boolean;
}

/**
 * Fills in what a rule does not say, and checks what can be checked of it alone.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function completeRule(written: WrittenRule): NetworkRule {
  const { http, credential, allowPrivate } = written;
  const host = parseHost(written.host);
  const protocol = written.protocol ?? "tls";
  const ports = written.ports ?? [protocol === "http" ? HTTP_PORT : TLS_PORT];
  if (protocol === "tcp" && written.ports === undefined)
    throw refused(`a \`tcp\` rule for \`${host}\` has to name its ports`, "add `ports: [5432]`");
  if (protocol === "tcp" && (http !== undefined || credential !== undefined))
    throw refused(
      `\`tcp\` for \`${host}\` is passed through as it is, so it has no requests and takes no credential`,
      "use `protocol: tls` or `http`, or remove `http` and `credential`",
    );
  if (protocol === "tls" && isAddress(host))
    throw refused(
      `\`${host}\` is an address, and a ClientHello names none (RFC 6066)`,
      "write its name, or `protocol: tcp`",
    );
  if (host.startsWith("*.") && credential !== undefined)
    throw refused(`a credential is for one host, and \`${host}\` is many`, "name the host");
  return {
    host,
    ports,
    protocol,
    ...(http === undefined ? {} : { http }),
    ...(credential === undefined ? {} : { credential }),
    ...(allowPrivate === true ? { allowPrivate: true } : {}),
  };
}

/** Words after the host of a `--net`, beside `credential=NAME`. */
const WORDS = ["private", "tls", "http", "tcp"] as const;

/**
 * One `--net`: `HOST[:PORT]`, and after commas `private` (its address may be a private one), `tls`, `http` or `tcp`, and
 * `credential=NAME`. Without a port it is 443; ports 443 and 8443 speak TLS, port 80 HTTP, all others anything.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function parseNetText(text: string): NetworkRule {
  const [place = "", ...words] = text.split(",");
  const [, host = "", port] = /^([^:]*)(?::(\d{1,5}))?$/.exec(place) ?? [];
  if (host === "" || (port !== undefined && !isPort(Number(port))))
    throw refused(`\`${text}\` is not a host, or a host and a port`, "write `HOST` or `HOST:PORT`");
  let written: WrittenRule = { host, ...(port === undefined ? {} : { ports: [Number(port)] }) };
  for (const word of words) {
    const credential = /^credential=([a-z0-9][a-z0-9._-]{0,63})$/.exec(word)?.[1];
    if (credential !== undefined) written = { ...written, credential };
    else if (word === "private") written = { ...written, allowPrivate: true };
    else if (word === "tls" || word === "http" || word === "tcp") written = { ...written, protocol: word };
    else
      throw refused(
        `\`${word}\` says nothing about a host`,
        `known are ${WORDS.join(", ")}, credential=NAME`,
      );
  }
  return completeRule({ protocol: protocolOf(written), ...written });
}

/** Two rules for one host and port would leave open which of them holds. */
export function checkRules(rules: readonly NetworkRule[]): void {
  if (rules.length > RULES_MAX) throw refused(`at most ${RULES_MAX} hosts can be named`, "name fewer");
  const seen = new Set<string>();
  for (const { host, ports } of rules) {
    for (const port of ports) {
      const place = `${host}:${port}`;
      if (seen.has(place)) throw refused(`two rules are about \`${place}\``, "make one of them");
      seen.add(place);
    }
  }
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= PORT_MAX;
}

function protocolOf({ ports }: WrittenRule): NetworkProtocol {
  if (ports === undefined || ports.every((port) => TLS_PORTS.includes(port))) return "tls";
  return ports.every((port) => port === HTTP_PORT) ? "http" : "tcp";
}

function parseHost(text: string): string {
  const isWildcard = text.startsWith("*.");
  const name = isWildcard ? text.slice(2) : text;
  if (text === "*" || name.includes("*"))
    throw refused(`\`${text}\` would open more than a name`, "write a name, or `*.` and a name");
  if (name.includes(":"))
    throw refused(`\`${text}\` is an IPv6 address, and rules name hosts`, "write its name");
  if (/^[\d.]+$/.test(name)) return parseAddress(name, isWildcard);
  // What a URL parser does with a name: lower case, and IDNA (RFC 5891).
  const host = domainToASCII(name);
  const isName = host.split(".").every((label) => LABEL.test(label)) && host.length <= HOST_LENGTH_MAX;
  if (host === "" || !isName || isAddress(host))
    throw refused(`\`${text}\` is not a host name`, "write a name such as `api.example.com`");
  if (host === "localhost" || host.endsWith(".localhost"))
    throw refused(
      `\`${host}\` is the tool's own loopback inside a sandbox`,
      "give the host's service a name of its own (in /etc/hosts, say), and allow that with `allowPrivate`",
    );
  if (!isWildcard) return host;
  if (isPublicSuffix(host))
    throw refused(`\`*.${host}\` is open to whoever registers a name below it`, "name the hosts one by one");
  return `*.${host}`;
}

function parseAddress(text: string, isWildcard: boolean): string {
  const parts = text.split(".");
  const isCanonical =
    parts.length === 4 && parts.every((part) => String(Number(part)) === part && Number(part) < 256);
  if (!isCanonical || isWildcard)
    throw refused(
      `\`${text}\` is not a name, and not an address as four numbers either`,
      "write `192.0.2.1`",
    );
  if (NOT_LITERAL.test(text))
    throw refused(`\`${text}\` means something else inside a sandbox`, "give it a name, and allow that");
  return text;
}

function isAddress(host: string): boolean {
  return /^[\d.]+$/.test(host);
}

/** The list of suffixes is large: it is loaded where a wildcard is met, and only there. */
function isPublicSuffix(host: string): boolean {
  const { getPublicSuffix } = createRequire(import.meta.url)("tldts") as typeof import("tldts");
  if (!host.includes(".")) return true;
  // Registries' suffixes; and those of hosting companies, below which customers choose names, unless a company keeps
  // all names below to itself.
  return (
    getPublicSuffix(host) === host ||
    (getPublicSuffix(host, { allowPrivateDomains: true }) === host && !OWN.has(host))
  );
}

/** On the list to part cookies from each other, though one company gives all the names out. */
const OWN: ReadonlySet<string> = new Set(["githubusercontent.com"]);

function refused(message: string, remedy: string): GateError {
  return new GateError("ERR_USAGE", message, { remedy });
}
