import { isJsonObject, type Json, type JsonObject } from "../../contract/json.ts";

/** One entry of the record as a person reads it. Entries may be damaged or of a later version, so nothing is assumed. */

/** The value under some keys, or undefined where there is none. */
export function at(entry: JsonObject, ...keys: readonly string[]): Json | undefined {
  let value: Json | undefined = entry;
  for (const key of keys) value = isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}

/** The text under some keys; empty where there is none. */
export function textAt(entry: JsonObject, ...keys: readonly string[]): string {
  const value = at(entry, ...keys);
  return typeof value === "string" ? value : "";
}

/** The texts in the list under some keys. */
export function textsAt(entry: JsonObject, ...keys: readonly string[]): readonly string[] {
  const value = at(entry, ...keys);
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

/** When it was recorded, as `2026-11-24 18:07:31.521Z`. */
export function timeOf(entry: JsonObject): string {
  const timeMs = at(entry, "timeMs");
  const time = new Date(typeof timeMs === "number" ? timeMs : Number.NaN);
  return Number.isNaN(time.getTime()) ? "unknown time" : time.toISOString().replace("T", " ");
}

/** The tool an entry is about; an intent holds its digest too, an outcome only its name. */
export function toolOf(entry: JsonObject): string {
  return textAt(entry, "tool") || textAt(entry, "tool", "name");
}

/** What an entry says, in one line. */
export function describeEntry(entry: JsonObject): string {
  switch (entry["kind"]) {
    case "genesis":
      return `the record begins, signed by ${textAt(entry, "verifierKey")}`;
    case "intent":
      return `${textAt(entry, "decision", "effect")} by ${textsAt(entry, "decision", "policies").join(", ")}, asked by ${textAt(entry, "caller", "kind")} ${textAt(entry, "caller", "id")}`;
    case "opened":
      return `${textAt(entry, "driver")}, isolation ${textAt(entry, "isolation")}, ${enforcedOf(entry)} controls enforced`;
    case "outcome":
      return outcomeOf(entry);
    case "denied":
      return `${textAt(entry, "code")}: ${textAt(entry, "message")}`;
    case "egress":
      return egressOf(entry);
    case "recovered":
      return textAt(entry, "message");
    case "policy":
    case "catalog":
      return `in force: ${textAt(entry, "summary")}, ${textAt(entry, "digest")}`;
    case "redacted":
      return `\`${textAt(entry, "payload")}\` of entry ${String(at(entry, "entry"))} was deleted: ${textAt(entry, "reason")}`;
    default:
      return JSON.stringify(entry);
  }
}

function egressOf(entry: JsonObject): string {
  const port = at(entry, "fact", "port");
  const number = (key: string): string => String(at(entry, "fact", key) ?? 0);
  const place = `${textAt(entry, "fact", "name") || "what has no name"}${typeof port === "number" ? `:${port}` : ""}`;
  const why = textAt(entry, "fact", "why");
  const method = textAt(entry, "fact", "request", "method");
  const status = at(entry, "fact", "request", "status");
  const request = method === "" ? "" : `${method} ${textAt(entry, "fact", "request", "path")} `;
  const answered = typeof status === "number" ? `, ${status}` : "";
  const moved = `, ${number("bytesSent")} bytes sent, ${number("bytesReceived")} received`;
  const credential = textAt(entry, "fact", "credential");
  return [
    `${textAt(entry, "fact", "verdict")} ${request}${place}${answered}`,
    ...(textAt(entry, "fact", "kind") === "connection" ? [moved] : []),
    ...(credential === "" ? [] : [`, with \`${credential}\``]),
    ...(why === "" ? [] : [`: ${why}`]),
  ].join("");
}

function enforcedOf(entry: JsonObject): number {
  const controls = at(entry, "controls");
  if (!isJsonObject(controls)) return 0;
  return Object.values(controls).filter((control) => isJsonObject(control) && control["state"] === "enforced")
    .length;
}

/** How a call that was let in ended. */
export function outcomeOf(entry: JsonObject): string {
  const wallUs = at(entry, "usage", "wallUs");
  const after = typeof wallUs === "number" ? ` after ${Math.round(wallUs / 1000)} ms` : "";
  switch (entry["outcome"]) {
    case "exited": {
      const signal = textAt(entry, "signal");
      return `exited ${String(at(entry, "exitCode"))}${signal === "" ? "" : ` (${signal})`}${after}`;
    }
    case "killed":
      return `killed by ${textAt(entry, "killedBy")}${after}`;
    default:
      return `${textAt(entry, "outcome")}: ${textAt(entry, "error", "code")}, ${textAt(entry, "error", "message")}`;
  }
}
