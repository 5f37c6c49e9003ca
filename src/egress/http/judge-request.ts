import type { HttpRule, NetworkRule } from "../../contract/network.ts";
import { fitsPath } from "./path-pattern.ts";
import { readings } from "./path-readings.ts";

/** Of a request's head: names and values. */
export const HEADER_BYTES_MAX: number = 64 * 1024;
export const HEADERS_MAX = 200;
export const TARGET_BYTES_MAX: number = 16 * 1024;

/** A request's head as it came. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** Name, value, name, value: in order, as Node's `rawHeaders`. */
  readonly rawHeaders: readonly string[];
  readonly httpVersion: string;
  readonly rule: Pick<NetworkRule, "http" | "protocol">;
  /** Lower case. */
  readonly name: string;
  readonly port: number;
}

export interface Forward {
  readonly method: string;
  readonly target: string;
  /** Names are lower case. */
  readonly headers: [name: string, value: string][];
}

export type Judgement =
  | { readonly forward: Forward; readonly upgrade: boolean }
  | {
      readonly refused: string;
      /** Where the request itself is fine, but for the rules. */
      readonly remedy?: string;
    };

type Refused = { readonly refused: string; readonly remedy?: string };
type Headers = readonly (readonly [name: string, value: string])[];

/** RFC 9110 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 5.5, one character per byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const TARGET = /^[\x21-\x7e]+$/;
const LENGTH = /^[0-9]{1,15}$/;

/** By these some frameworks take another path, method or host than the request's. */
const OVERRIDES: ReadonlySet<string> = new Set([
  "x-original-url",
  "x-rewrite-url",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
]);
/** What only a proxy says of a request; the gate does not (RFC 7239). */
const OF_PROXIES = /^(?:forwarded|x-forwarded-.*|x-real-ip)$/;
/** To CGI and its kin `_` in a header's name is `-`. */
const JUDGED =
  /^(?:host|content-length|content-type|transfer-encoding|connection|upgrade|authorization|cookie|expect)$/;

/** RFC 9110 7.6.1: for this connection only, whether `Connection` names them or not. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  // A request's trailers are not passed on (RFC 9110 6.5.1).
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);
/** What `Connection` may name: an origin could be made to miss anything else. */
const CONNECTION_OPTIONS: ReadonlySet<string> = new Set([...HOP_BY_HOP, "close"]);

/** Whether a request may pass, and how it is then sent. Pure. */
export function judgeRequest(head: RequestHead): Judgement {
  const headers = pairs(head.rawHeaders);
  const malformed = whyMalformed(head, headers);
  if (malformed !== undefined) return { refused: malformed };
  const target = originForm(head);
  if (typeof target === "object") return target;
  const wrongHost = whyWrongHost(valuesOf(headers, "host"), head);
  if (wrongHost !== undefined) return { refused: wrongHost };
  const framing = whyMisframed(headers, head);
  if (framing !== undefined) return { refused: framing };
  const upgrade = upgradeOf(headers, head.method);
  if (typeof upgrade === "object") return upgrade;
  const overridden = whyOverridden(headers, head.rule);
  if (overridden !== undefined) return { refused: overridden };
  const refused = whyNot(head, target, upgrade);
  if (refused !== undefined) return refused;
  return { forward: { method: head.method, target, headers: forwarded(headers, upgrade) }, upgrade };
}

function pairs(raw: readonly string[]): Headers {
  return Array.from({ length: Math.ceil(raw.length / 2) }, (_, at) => [
    (raw[2 * at] ?? "").toLowerCase(),
    raw[2 * at + 1] ?? "",
  ]);
}

function valuesOf(headers: Headers, name: string): string[] {
  return headers.filter(([one]) => one === name).map(([, value]) => value);
}

/** Elements of a list (RFC 9110 5.6.1), lower case. */
function listOf(headers: Headers, name: string): string[] {
  return valuesOf(headers, name).flatMap((value) =>
    value
      .split(",")
      .map((element) => element.trim().toLowerCase())
      .filter((element) => element !== ""),
  );
}

function whyMalformed({ method, target, httpVersion }: RequestHead, headers: Headers): string | undefined {
  if (httpVersion !== "1.1" && httpVersion !== "1.0") return "its version is not HTTP/1.1";
  if (!TOKEN.test(method)) return "its method is not a token";
  if (target.length > TARGET_BYTES_MAX) return `its target is longer than ${TARGET_BYTES_MAX} bytes`;
  if (!TARGET.test(target)) return "its target holds a character that has to be encoded";
  if (headers.length > HEADERS_MAX) return `it has more than ${HEADERS_MAX} headers`;
  const bytes = headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > HEADER_BYTES_MAX) return `its headers are longer than ${HEADER_BYTES_MAX} bytes`;
  if (!headers.every(([name]) => TOKEN.test(name))) return "the name of a header is not a token";
  if (!headers.every(([, value]) => VALUE.test(value))) return "a header holds a control character";
  return undefined;
}

/** RFC 9112 3.2. */
function originForm({ method, target, rule, name, port }: RequestHead): string | Refused {
  if (method === "CONNECT") return { refused: "CONNECT asks for a tunnel" };
  if (target.startsWith("/")) return target;
  if (target === "*") return { refused: "its target is `*`" };
  const absolute = /^(https?):\/\/([^/?#]+)([/?].*|)$/i.exec(target);
  if (absolute === null) return { refused: "its target is not a path" };
  const [, scheme = "", authority = "", rest = ""] = absolute;
  if (scheme.toLowerCase() !== schemeOf(rule)) return { refused: "its target is of another scheme" };
  if (!isHost(authority, { rule, name, port })) return { refused: "its target names another host" };
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function schemeOf(rule: Pick<NetworkRule, "protocol">): "http" | "https" {
  return rule.protocol === "http" ? "http" : "https";
}

function isHost(value: string, { rule, name, port }: Pick<RequestHead, "rule" | "name" | "port">): boolean {
  const host = value.toLowerCase();
  const isDefault = port === (rule.protocol === "http" ? 80 : 443);
  return host === `${name}:${port}` || (isDefault && host === name);
}

/** RFC 9112 3.2: exactly one, with the port where it is not the scheme's own. */
function whyWrongHost(hosts: readonly string[], head: RequestHead): string | undefined {
  const [host] = hosts;
  if (host === undefined) return "it has no Host";
  if (hosts.length > 1) return "it has more than one Host";
  return isHost(host, head) ? undefined : `its Host is not \`${hostOf(head)}\``;
}

/** As a Host is written: with the port where it is not the scheme's own. */
export function hostOf({ rule, name, port }: Pick<RequestHead, "rule" | "name" | "port">): string {
  return port === (rule.protocol === "http" ? 80 : 443) ? name : `${name}:${port}`;
}

/** RFC 9112 6: two readers that differ in where a body ends read different requests after it. */
function whyMisframed(headers: Headers, { httpVersion }: RequestHead): string | undefined {
  const codings = valuesOf(headers, "transfer-encoding");
  const lengths = valuesOf(headers, "content-length");
  if (codings.length > 1) return "it has more than one Transfer-Encoding";
  if (lengths.length > 1) return "it has more than one Content-Length";
  const [coding] = codings;
  const [length] = lengths;
  if (coding !== undefined && length !== undefined) return "it has both Transfer-Encoding and Content-Length";
  if (coding !== undefined && coding !== "chunked") return "its Transfer-Encoding is not `chunked`";
  if (coding !== undefined && httpVersion === "1.0") return "it has Transfer-Encoding in HTTP/1.0";
  if (length !== undefined && !LENGTH.test(length)) return "its Content-Length is not a number";
  const strange = listOf(headers, "connection").find((option) => !CONNECTION_OPTIONS.has(option));
  if (strange !== undefined) return "its Connection names a header that is not the connection's own";
  return undefined;
}

function upgradeOf(headers: Headers, method: string): boolean | Refused {
  const upgrades = listOf(headers, "upgrade");
  if (upgrades.length === 0) return false;
  // A client that offers HTTP/2 goes on with HTTP/1.1 where nobody takes it up (RFC 9110 7.8).
  if (upgrades.length === 1 && upgrades[0] === "h2c") return false;
  if (upgrades.length !== 1 || upgrades[0] !== "websocket")
    return { refused: "it asks for an Upgrade that is not to WebSocket" };
  if (method !== "GET") return { refused: "it asks for a WebSocket, and is not GET" };
  if (!listOf(headers, "connection").includes("upgrade"))
    return { refused: "it has Upgrade, and its Connection does not name it" };
  const hasBody = headers.some(([name]) => name === "content-length" || name === "transfer-encoding");
  if (hasBody) return { refused: "it asks for a WebSocket, and has a body" };
  return true;
}

/** What is judged must be what the origin goes by. */
function whyOverridden(headers: Headers, { http }: RequestHead["rule"]): string | undefined {
  const folded = headers.find(([name]) => name.includes("_") && JUDGED.test(name.replaceAll("_", "-")));
  if (folded !== undefined) return `the header \`${folded[0]}\` is another one to some servers`;
  if (http === undefined) return undefined;
  const override = headers.find(([name]) => OVERRIDES.has(name.replaceAll("_", "-")));
  return override === undefined ? undefined : `the header \`${override[0]}\` asks for another path or method`;
}

/** Every path that an origin might read has to be one that a rule permits for this method. */
function whyNot({ method, rule, name }: RequestHead, target: string, upgrade: boolean): Refused | undefined {
  const { http } = rule;
  if (http === undefined) return upgrade ? whyNoUpgrade(name) : undefined;
  const paths = readings(target);
  if ("refused" in paths) return { refused: paths.refused };
  const ofMethod = http.filter(({ methods }) => methods.includes(method));
  const rules = ofMethod.filter((one) => !upgrade || one.upgrade === true);
  const permitted = (path: string, all: readonly HttpRule[]): boolean =>
    all.some(({ paths: patterns }) => patterns.some((pattern) => fitsPath(path, pattern)));
  if (paths.every((path) => permitted(path, rules))) return undefined;
  if (upgrade && paths.every((path) => permitted(path, ofMethod))) return whyNoUpgrade(name);
  const path = shownPath(target);
  const missing = `{ methods: [${method}], paths: [${JSON.stringify(path)}] }`;
  return {
    refused: `${method} ${path} is not in the rules for ${name}`,
    remedy: `add to the tool's rule for ${name}, under \`http\`: ${missing}`,
  };
}

function whyNoUpgrade(name: string): Refused {
  return {
    refused: `a WebSocket is not in the rules for ${name}`,
    remedy: "add `upgrade: true` to the entry under `http` that has its path",
  };
}

/** Characters of a path that go into a record or an answer. */
export const SHOWN_PATH_CHARS_MAX = 512;

/** The path without its query, which may hold secrets; nothing unprintable. */
export function shownPath(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, "").split(/[?#]/, 1)[0] ?? "";
  return path.slice(0, SHOWN_PATH_CHARS_MAX).replace(/[^\x21-\x7e]/g, "?");
}

function forwarded(headers: Headers, upgrade: boolean): [string, string][] {
  const kept = headers
    .filter(([name]) => !HOP_BY_HOP.has(name) && !OF_PROXIES.test(name.replaceAll("_", "-")))
    .map(([name, value]): [string, string] => [name, value]);
  // RFC 9110 10.1.4: trailers are passed on.
  if (listOf(headers, "te").includes("trailers")) kept.push(["te", "trailers"], ["connection", "te"]);
  if (listOf(headers, "transfer-encoding").length > 0) kept.push(["transfer-encoding", "chunked"]);
  if (upgrade) kept.push(["connection", "upgrade"], ["upgrade", "websocket"]);
  return kept;
}
