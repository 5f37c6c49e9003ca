import { createRequire } from "node:module";
import { isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { GateError } from "../contract/errors.ts";

/** RFC 1035 2.3.4. */
const HOST_LENGTH_MAX = 253;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 3986 3.1. */
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
/** A URL parser cuts a name off at some of these, and skips or decodes others. */
const NOT_OF_NAMES = /[^\w.\-\u{80}-\u{10ffff}]/u;
/** The tool's own loopback, and what stands for names. */
const INSIDE = /^127\.|^198\.1[89]\./;
/** This network, multicast, reserved. */
const NOBODYS = /^(?:0|22[4-9]|23\d|24\d|25[0-5])\./;
/** Where clouds keep the secrets of their machines: a test holds it to what the edge refuses. */
const METADATA: ReadonlySet<string> = new Set([
  "169.254.169.254",
  "169.254.170.2",
  "169.254.170.23",
  "169.254.42.42",
  "169.254.0.23",
  "192.0.0.192",
  "100.100.100.200",
  "168.63.129.16",
]);
/** On the list to part cookies from each other, though one company gives all the names out. */
const OWN: ReadonlySet<string> = new Set(["githubusercontent.com"]);

/**
 * The host of a rule, as it is compared: lower-case ASCII.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function parseHost(text: string): string {
  checkNoUrl(text);
  const isWildcard = text.startsWith("*.");
  const name = isWildcard ? text.slice(2) : text;
  if (name === "") throw refused("no host is named", "write a name such as `api.example.com`");
  if (name.includes("*"))
    throw refused(`\`${text}\` would open more than a name`, "write a name, or `*.` and a name");
  if (/^[\d.]+$/.test(name)) return parseAddress(name, isWildcard);
  const host = parseName(name, text);
  if (host === "localhost" || host.endsWith(".localhost")) throw ownLoopback(host);
  if (!isWildcard) return host;
  if (isPublicSuffix(host))
    throw refused(`\`*.${host}\` is open to whoever registers a name below it`, "name the hosts one by one");
  return `*.${host}`;
}

export function isAddress(host: string): boolean {
  return /^[\d.]+$/.test(host);
}

/** Whether it is meant as an IPv6 address, in brackets or without. */
export function isIPv6Text(text: string): boolean {
  return text.startsWith("[") || isIPv6(text);
}

/** @throws GateError `ERR_USAGE` where it is more than a host. */
export function checkNoUrl(text: string): void {
  const scheme = SCHEME.exec(text)?.[1];
  const [authority = "", ...rest] = text.replace(SCHEME, "").split(/(?=[/?#\\])/);
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  const isName = host !== "" && !isIPv6Text(host);
  const way = isName ? `write \`${host}\`` : "write a name such as `api.example.com`";
  if (scheme !== undefined)
    throw refused(
      `a rule names a host, and \`${withoutUser(text)}\` is a URL`,
      `leave out the scheme and the path: ${way}`,
    );
  if (rest.length > 0)
    throw refused(
      `a rule names a host, and \`${rest.join("")}\` is a path`,
      `${way}; which paths pass is said under \`http\` of a rule in a manifest`,
    );
  if (host !== authority)
    throw refused(`a rule names a host, and \`${withoutUser(text)}\` has a user in it`, way);
  if (isIPv6Text(text))
    throw refused(`\`${text}\` is an IPv6 address, which a rule cannot name`, "write the host's name");
}

/** What stands before the `@` of a URL may be a token. */
export function withoutUser(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/?#\\]*@/i, "$1…@");
}

function parseName(name: string, text: string): string {
  if (name.endsWith(".") && name !== ".")
    throw refused(`\`${text}\` ends with a dot`, `leave the dot out: \`${text.replace(/\.+$/, "")}\``);
  // What a URL parser does with a name: lower case, and IDNA (RFC 5891).
  const host = NOT_OF_NAMES.test(name) ? "" : domainToASCII(name);
  if (isAddress(host) && host !== "")
    throw refused(`\`${text}\` is an address in another form`, `write it as four numbers: \`${host}\``);
  const isName = host.split(".").every((label) => LABEL.test(label)) && host.length <= HOST_LENGTH_MAX;
  if (!isName) throw refused(`\`${text}\` is not a host name`, "write a name such as `api.example.com`");
  return host;
}

function parseAddress(text: string, isWildcard: boolean): string {
  const parts = text.split(".");
  const isCanonical =
    parts.length === 4 && parts.every((part) => String(Number(part)) === part && Number(part) < 256);
  if (!isCanonical || isWildcard)
    throw refused(
      `\`${text}\` is not a name, and not an address as four numbers either`,
      "write it as `10.1.2.3`",
    );
  if (METADATA.has(text))
    throw refused(
      `\`${text}\` is the metadata service of a cloud, which no rule opens`,
      "name a host that may be reached",
    );
  if (INSIDE.test(text)) throw ownLoopback(text);
  if (NOBODYS.test(text))
    throw refused(`\`${text}\` is no host's address`, "name a host that may be reached");
  return text;
}

function ownLoopback(host: string): GateError {
  return refused(
    `\`${host}\` is the sandbox's own`,
    "give the host's service a name of its own (in /etc/hosts, say), and allow that: `--net NAME:PORT,private`, or `allowPrivate: true` in a manifest",
  );
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

function refused(message: string, remedy: string): GateError {
  return new GateError("ERR_USAGE", message, { remedy });
}
