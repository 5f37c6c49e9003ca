import canonicalize from "canonicalize";
import { GateError } from "../contract/errors.ts";
import type { Json, JsonObject } from "../contract/json.ts";
import type { Masker } from "../contract/mask.ts";
import type { AuditRecord, OutcomeRecord } from "../contract/record.ts";
import { shortened } from "./shorten.ts";

/** C2SP `tlog-tiles` gives an entry's length 16 bits. */
export const ENTRY_BYTES_MAX = 65_535;
export const ENTRY_VERSION = 1;

/** The first entry of every log: which key it is signed with. */
export interface GenesisRecord {
  readonly kind: "genesis";
  /** The vkey line. */
  readonly verifierKey: string;
}

/** A payload and its salt were deleted; the commitment stays. */
export interface RedactedRecord {
  readonly kind: "redacted";
  readonly entry: number;
  readonly payload: string;
  readonly reason: string;
}

export type LogRecord = AuditRecord | GenesisRecord | RedactedRecord;
export type EntryKind = LogRecord["kind"];

/** What the log adds to every record. */
export interface EntryStamp {
  readonly origin: string;
  /** Milliseconds since the epoch, UTC. */
  readonly timeMs: number;
  /** The host's name. */
  readonly node: string;
  /** Its boot id. */
  readonly boot: string;
}

/** What an entry says of one payload. */
export interface PayloadMention extends JsonObject {
  readonly bytes: number;
  /** `sha256:` and SHA-256(salt || payload) in hex. */
  readonly commitment: string;
}

const microseconds = (milliseconds: number): number => Math.round(milliseconds * 1000);

/** Entries hold integers only, so fractions of milliseconds become microseconds: `wallMs` is kept as `wallUs`. */
function outcomeMembers(record: OutcomeRecord): object {
  const { usage, startedMs, endedMs, ...rest } = record;
  return {
    ...rest,
    startedUs: startedMs === null ? null : microseconds(startedMs),
    endedUs: microseconds(endedMs),
    usage: usage && {
      wallUs: microseconds(usage.wallMs),
      cpuUs: usage.cpuMs === null ? null : microseconds(usage.cpuMs),
      memoryBytesMax: usage.memoryBytesMax,
    },
  };
}

/** A proven claim may be a fraction and must not keep its caller out; it is kept as text. */
function withExactClaims(record: LogRecord): object {
  if (!("caller" in record)) return record;
  const { claims } = record.caller;
  const exact = (value: unknown): boolean => typeof value !== "number" || Number.isSafeInteger(value);
  if (Object.values(claims).every(exact)) return record;
  const texts = Object.entries(claims).map(([name, value]) => [name, exact(value) ? value : String(value)]);
  return { ...record, caller: { ...record.caller, claims: Object.fromEntries(texts) } };
}

/** Where `value` holds something that is not text, boolean, null or an exact integer; undefined where nowhere. */
function misfit(value: unknown, path: string): string | undefined {
  if (value === null || value === undefined || typeof value === "string" || typeof value === "boolean")
    return undefined;
  if (typeof value === "number") return Number.isSafeInteger(value) ? undefined : path;
  if (typeof value !== "object") return path;
  for (const [key, member] of Object.entries(value)) {
    const found = misfit(member, `${path}/${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

class Misfit extends Error {}

/** A copy that RFC 8785 can hold and JSON.parse gives back exactly: masked, well-formed, integers only. */
function tidy(value: unknown, masker: Masker): Json {
  if (typeof value === "string") return masker.text(value.toWellFormed());
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  if (typeof value !== "object") throw new Misfit();
  if (Array.isArray(value)) return value.map((item) => tidy(item, masker));
  // Without a prototype `__proto__` is a key like any other.
  const copy: Record<string, Json> = Object.create(null);
  for (const key of Object.keys(value)) {
    const member: unknown = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    const name = masker.text(key.toWellFormed());
    // Two keys that mask to the same would silently become one.
    if (name in copy)
      throw new GateError("ERR_INTERNAL", "a record repeats a key once its secrets are masked");
    copy[name] = tidy(member, masker);
  }
  return copy;
}

function tidied(members: object, masker: Masker): JsonObject {
  try {
    return tidy(members, masker) as JsonObject;
  } catch (fault) {
    if (!(fault instanceof Misfit)) throw fault;
    const path = misfit(members, "") ?? "/";
    throw new GateError(
      "ERR_INTERNAL",
      `a record holds something other than integers and text at \`${path}\``,
    );
  }
}

function canonical(entry: Json): string | undefined {
  const bytes = canonicalize(entry);
  return bytes !== undefined && Buffer.byteLength(bytes) <= ENTRY_BYTES_MAX ? bytes : undefined;
}

/**
 * The bytes of an entry: RFC 8785 JSON of the record and its stamp, made once and never again. One that would be
 * too big has its free texts and lists shortened, and says so under `shortened`.
 * @throws GateError `ERR_INTERNAL` where the record cannot be kept without losing what identifies the call
 */
export function entryBytes(
  record: LogRecord,
  stamp: EntryStamp,
  payloads: Readonly<Record<string, PayloadMention>>,
  masker: Masker,
): string {
  const members = record.kind === "outcome" ? outcomeMembers(record) : withExactClaims(record);
  const mentions = Object.keys(payloads).length === 0 ? {} : { payloads };
  const entry = tidied({ ...members, ...mentions, version: ENTRY_VERSION, ...stamp }, masker);
  const whole = canonical(entry);
  if (whole !== undefined) return whole;
  for (const attempt of shortened(entry)) {
    const bytes = canonical(attempt);
    if (bytes !== undefined) return bytes;
  }
  throw new GateError("ERR_INTERNAL", `a record is larger than ${ENTRY_BYTES_MAX} bytes`, {
    remedy: "shorten the caller's claims or the environment's names",
  });
}
