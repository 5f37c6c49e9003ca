import { isJsonObject, type JsonObject } from "../contract/json.ts";

/**
 * Reading JSON that somebody else may have written: JSON.parse lets the last of two equal keys win, which shows two
 * readers two things.
 */

/** How deep an object may nest; entries and receipts stay far below. */
const DEPTH_MAX = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;

/** Where the string that opens at `at` closes. `text` is JSON. */
function stringEnd(text: string, at: number): number {
  let end = text.indexOf('"', at + 1);
  for (;;) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
}

/** Whether an object of `text`, which is JSON, repeats a key or nests too deep. */
function repeatsKey(text: string): boolean {
  // The keys of every open object; null for an open array.
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case OPEN_BRACE:
        open.push(new Set());
        expectsKey = true;
        break;
      case OPEN_BRACKET:
        open.push(null);
        expectsKey = false;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        open.pop();
        expectsKey = false;
        break;
      case COMMA:
        expectsKey = open.at(-1) !== null;
        break;
      case QUOTE: {
        const end = stringEnd(text, at);
        const keys = open.at(-1);
        if (expectsKey && keys) {
          // Compared as what they mean: an escape is another spelling of the same key.
          const key = JSON.parse(text.slice(at, end + 1)) as string;
          if (keys.has(key)) return true;
          keys.add(key);
        }
        expectsKey = false;
        at = end;
        break;
      }
    }
    if (open.length > DEPTH_MAX) return true;
  }
  return false;
}

/** Every number an exact integer, every text well-formed. */
function isExact(value: unknown): boolean {
  switch (typeof value) {
    case "number":
      return Number.isSafeInteger(value);
    case "string":
      return value.isWellFormed();
    case "object":
      if (value === null) return true;
      return Object.entries(value).every(([key, member]) => key.isWellFormed() && isExact(member));
    default:
      return true;
  }
}

/** An object of integers and texts without repeated keys, or undefined where `text` is anything else. */
export function parseStrictObject(text: string): JsonObject | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value) || repeatsKey(text) || !isExact(value)) return undefined;
  return value;
}
