import { GateError } from "../contract/errors.ts";
import { deepFreeze, isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import type { Limits } from "../contract/profile.ts";

/** Objects and arrays inside each other, the outermost counting one. Cedar's own parser stops at 127. */
export const INPUT_DEPTH_MAX = 32;

/**
 * Parses the text of a tool's input, refusing everything two readers could understand differently. Costs
 * no library, so a one-shot command can afford it. The result is frozen.
 * @throws GateError `ERR_INPUT_TOO_LARGE`, `ERR_INPUT_TOO_DEEP`, `ERR_INPUT_SYNTAX`; `ERR_INPUT_SCHEMA`
 *   when the text is JSON and not an object.
 */
export function parseInput(text: string, limits: Pick<Limits, "inputBytes">): JsonObject {
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.inputBytes) {
    throw new GateError(
      "ERR_INPUT_TOO_LARGE",
      `input is ${bytes} bytes, over the limit of ${limits.inputBytes}`,
      {
        remedy: "pass a file's path instead of its content, or raise `inputBytes` of the tool's limits",
      },
    );
  }
  // INVARIANT: before anything that may recurse.
  checkDepth(text);
  const value = parseSyntax(text);
  new ExactScan(text).value();
  if (!isJsonObject(value)) throw new GateError("ERR_INPUT_SCHEMA", "input must be a JSON object");
  return deepFreeze(value);
}

function parseSyntax(text: string): unknown {
  try {
    // `-0` becomes `0` because RFC 8785, and so every digest, knows no other zero.
    const reviver = text.includes("-0")
      ? (_key: string, value: unknown) => (value === 0 ? 0 : value)
      : undefined;
    return JSON.parse(text, reviver);
  } catch (cause) {
    throw syntax("is not JSON", { cause, internal: String(cause) });
  }
}

/** Counts brackets outside strings. Works on text that is not JSON, since it comes first. */
function checkDepth(text: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const mark = text[at];
    if (mark === '"') at = stringEnd(text, at) - 1;
    else if (mark === "]" || mark === "}") depth -= 1;
    else if (mark === "[" || mark === "{") depth += 1;
    if (depth > INPUT_DEPTH_MAX) {
      throw new GateError("ERR_INPUT_TOO_DEEP", `input nests deeper than ${INPUT_DEPTH_MAX} levels`);
    }
  }
}

/** The offset behind the string that opens at `start`. No regular expression: theirs is a bounded stack. */
function stringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return end + 1;
  }
  return text.length;
}

const SPACE: ReadonlySet<string> = new Set("\t\n\r ");
const MARKS: ReadonlySet<string> = new Set("[]{}:,");
const ENDS_WORD: ReadonlySet<string> = SPACE.union(MARKS);

/**
 * Looks at the source of every key, string and number, which `JSON.parse` no longer shows: it keeps the
 * last of two equal keys and rounds numbers. Runs after it, on text known to be JSON, at bounded depth.
 */
class ExactScan {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): void {
    const token = this.#next();
    if (token === "{") this.#object();
    else if (token === "[") this.#array();
    else if (token.startsWith('"')) decode(token);
    else if (/^[-0-9]/.test(token)) checkNumber(token);
  }

  #object(): void {
    const seen = new Set<string>();
    if (this.#skip("}")) return;
    do {
      const key = decode(this.#next());
      if (seen.has(key)) throw syntax(`holds the key \`${shown(key)}\` twice in one object`);
      seen.add(key);
      this.#next();
      this.value();
    } while (this.#next() === ",");
  }

  #array(): void {
    if (this.#skip("]")) return;
    do this.value();
    while (this.#next() === ",");
  }

  #skip(mark: string): boolean {
    const at = this.#at;
    if (this.#next() === mark) return true;
    this.#at = at;
    return false;
  }

  #next(): string {
    while (SPACE.has(this.#text[this.#at] ?? "")) this.#at += 1;
    const start = this.#at;
    const first = this.#text[start] ?? "";
    if (first === '"') this.#at = stringEnd(this.#text, start);
    else if (MARKS.has(first)) this.#at += 1;
    else while (!ENDS_WORD.has(this.#text[this.#at] ?? ",")) this.#at += 1;
    return this.#text.slice(start, this.#at);
  }
}

function decode(source: string): string {
  const value = JSON.parse(source) as string;
  if (value.includes("\0"))
    throw syntax("holds a NUL character", { remedy: "no path or argument can hold one" });
  if (!value.isWellFormed()) throw syntax("holds half of a surrogate pair, which is not text");
  return value;
}

/** A number must mean what it says: in double precision many do not. */
function checkNumber(source: string): void {
  const value = Number(source);
  const remedy = "pass it as a string";
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    throw syntax(`holds the number ${shown(source)}, beyond 2^53 - 1 where integers stop being exact`, {
      remedy,
    });
  }
  const { nonzero, integral } = readDecimal(source);
  if ((value === 0 && nonzero) || (Number.isInteger(value) && !integral)) {
    throw syntax(`holds the number ${shown(source)}, which a double would round to ${value}`, { remedy });
  }
}

/** What a number's digits say, without rounding. */
function readDecimal(source: string): { nonzero: boolean; integral: boolean } {
  const [mantissa = "", exponent = "0"] = source.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = whole + fraction;
  let significant = digits.length;
  while (digits[significant - 1] === "0") significant -= 1;
  // The power of ten of the last digit that is not zero.
  const last = Number(exponent) - fraction.length + (digits.length - significant);
  return { nonzero: significant > 0, integral: significant === 0 || last >= 0 };
}

function shown(source: string): string {
  return source.length > 40 ? `${source.slice(0, 40)}…` : source;
}

function syntax(
  what: string,
  options: { cause?: unknown; internal?: string; remedy?: string } = {},
): GateError {
  return new GateError("ERR_INPUT_SYNTAX", `input ${what}`, options);
}

/** RFC 6901: one more step on a pointer. */
export function pointerTo(parent: string, segment: string | number): string {
  return `${parent}/${String(segment).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** A copy that may be changed. Keys such as `__proto__` stay ordinary keys. */
export function thaw<T extends Json>(value: T): T {
  return structuredClone(value) as T;
}
