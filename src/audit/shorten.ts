import type { Json, JsonObject } from "../contract/json.ts";
import { isJsonObject } from "../contract/json.ts";

/** Members that inform and identify nothing: what is under them may be cut. */
const INFORMATIVE: ReadonlySet<string> = new Set([
  "claims",
  "controls",
  "denials",
  "message",
  "paths",
  "policies",
  "reason",
  "reasons",
  "summary",
]);
/** Tried in turn until the entry fits: characters of a text, items of a list. */
const BOUNDS = [
  { chars: 4_096, items: 256 },
  { chars: 1_024, items: 64 },
  { chars: 256, items: 32 },
  { chars: 64, items: 8 },
] as const;
/** How many cuts an entry lists one by one. */
const CUTS_LISTED_MAX = 32;

interface Cuts {
  readonly listed: string[];
  count: number;
}

function cut(value: Json, path: string, bound: (typeof BOUNDS)[number], cuts: Cuts): Json {
  const note = (what: string): void => {
    cuts.count++;
    if (cuts.listed.length < CUTS_LISTED_MAX) cuts.listed.push(what);
  };
  if (typeof value === "string" && value.length > bound.chars) {
    note(`${path}: ${value.length} characters`);
    // Cutting may split a surrogate pair, which RFC 8785 cannot hold.
    return `${value.slice(0, bound.chars).toWellFormed()}… [shortened]`;
  }
  if (Array.isArray(value)) {
    if (value.length > bound.items) note(`${path}: ${value.length} items`);
    return value.slice(0, bound.items).map((item, index) => cut(item, `${path}/${index}`, bound, cuts));
  }
  if (!isJsonObject(value)) return value;
  const members = Object.entries(value);
  if (members.length > bound.items) note(`${path}: ${members.length} members`);
  return Object.fromEntries(
    members.slice(0, bound.items).map(([key, member]) => [key, cut(member, `${path}/${key}`, bound, cuts)]),
  );
}

function informative(
  value: JsonObject,
  path: string,
  bound: (typeof BOUNDS)[number],
  cuts: Cuts,
): JsonObject {
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const at = `${path}/${key}`;
      if (INFORMATIVE.has(key)) return [key, cut(member, at, bound, cuts)];
      return [key, isJsonObject(member) ? informative(member, at, bound, cuts) : member];
    }),
  );
}

/**
 * Ever shorter forms of an entry that does not fit. Each carries `shortened`: how many places were cut, and for
 * the first of them where and how long they were.
 */
export function* shortened(entry: JsonObject): Generator<JsonObject, void, undefined> {
  for (const bound of BOUNDS) {
    const cuts: Cuts = { listed: [], count: 0 };
    const shorter = informative(entry, "", bound, cuts);
    // Long keys may make a path long too.
    const places = cuts.listed.map((place) => place.slice(-200).toWellFormed());
    yield { ...shorter, shortened: { count: cuts.count, places } };
  }
}
