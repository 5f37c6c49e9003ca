import { createHash, randomBytes } from "node:crypto";
import { GateError } from "./errors.ts";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A UUIDv7 (RFC 9562 section 5.7), lower case. Sorts by the time it was made. */
export type CallId = Branded<"CallId">;
/** `sha256:` and 64 lower-case hexadecimal digits. */
export type Digest = Branded<"Digest">;
/** A tool's name: dot-separated words such as `repo.search`. */
export type ToolName = Branded<"ToolName">;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const TOOL_NAME = /^[a-z][a-z0-9_-]{0,63}(?:\.[a-z][a-z0-9_-]{0,63}){0,7}$/;

/** Makes a UUIDv7 from the clock and 74 random bits. */
export function newCallId(nowMs: number = Date.now()): CallId {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as CallId;
}

/** @throws GateError `ERR_USAGE` when `text` is not a UUIDv7. */
export function parseCallId(text: string): CallId {
  if (!UUID_V7.test(text)) throw new GateError("ERR_USAGE", `\`${text}\` is not a call id`);
  return text as CallId;
}

/** @throws GateError `ERR_USAGE` when `text` is not `sha256:` and 64 hex digits. */
export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) throw new GateError("ERR_USAGE", `\`${text}\` is not a sha256 digest`);
  return text as Digest;
}

/** @throws GateError `ERR_USAGE` when `text` is not a tool name. */
export function parseToolName(text: string): ToolName {
  if (!TOOL_NAME.test(text)) {
    throw new GateError("ERR_USAGE", `\`${text}\` is not a tool name`, {
      remedy: "a tool name is lower-case words joined by dots, such as `repo.search`",
    });
  }
  return text as ToolName;
}

/** SHA-256 over the bytes given, as a `Digest`. */
export function digestOf(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;
}
