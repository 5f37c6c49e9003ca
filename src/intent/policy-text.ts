/**
 * What can be known of Cedar text without Cedar: where policies begin and end, and what of the context they
 * can see. Strings and comments are Cedar's own (cedar-policy-core, `grammar.lalrpop`).
 */
interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const TOKEN = /\s+|\/\/[^\n\r]*|("(?:\\[\s\S]|[^"\\])*"|[_a-zA-Z][_a-zA-Z0-9]*|[\s\S])/gu;

/** Tokens without white space and comments. */
function* tokens(text: string): Generator<Token> {
  for (const match of text.matchAll(TOKEN)) {
    const token = match[1];
    if (token !== undefined) yield { text: token, start: match.index, end: match.index + token.length };
  }
}

/** One policy's text, from its first annotation or keyword to its semicolon. */
export interface PolicyPiece {
  readonly text: string;
  /** Where it starts in the file's text, in UTF-16 units. */
  readonly offset: number;
}

/** Splits a file at its semicolons. What follows the last one is a piece too, for Cedar to refuse. */
export function splitPolicies(text: string): PolicyPiece[] {
  const pieces: PolicyPiece[] = [];
  let start: number | undefined;
  for (const token of tokens(text)) {
    start ??= token.start;
    if (token.text !== ";") continue;
    pieces.push({ text: text.slice(start, token.end), offset: start });
    start = undefined;
  }
  if (start !== undefined) pieces.push({ text: text.slice(start).trimEnd(), offset: start });
  return pieces;
}

/** Attributes of the context that some policy can read; `all` when a policy names it any other way. */
export type Sight = ReadonlySet<string> | "all";

const STRING_OR_COMMENT = /"(?:\\[\s\S]|[^"\\])*"|\/\/[^\n\r]*/g;
const CONTEXT = /(?<![A-Za-z_])context(?!\w)(?:\s*\.\s*([_a-zA-Z]\w*))?/g;

/**
 * Which attributes of the context the texts can see. Sound because Cedar binds no names: the context is
 * reached through the word `context` and nothing else, and `context.call` reads only `call`. Strings are
 * emptied and comments blanked first; a text where that goes wrong is one Cedar refuses.
 */
export function contextSight(texts: Iterable<string>): Sight {
  const seen = new Set<string>();
  for (const text of texts) {
    const code = text.replace(STRING_OR_COMMENT, (token) => (token.startsWith('"') ? '""' : " "));
    // A quote that never closes: nothing after it is known to be code.
    if (code.replaceAll('""', "").includes('"')) return "all";
    for (const [, attribute] of code.matchAll(CONTEXT)) {
      if (attribute === undefined) return "all";
      seen.add(attribute);
    }
  }
  return seen;
}

/** Whether an attribute of the context can be seen. */
export function sees(sight: Sight, attribute: string): boolean {
  return sight === "all" || sight.has(attribute);
}

/** Line and column, from 1, of an offset in UTF-16 units. */
export function positionAt(text: string, offset: number): { line: number; column: number } {
  const lines = text.slice(0, offset).split(/\r\n|\n|\r/);
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
}

/** Cedar counts bytes; this gives the UTF-16 offset of a byte offset. */
export function fromByteOffset(text: string, bytes: number): number {
  return Buffer.from(text).subarray(0, bytes).toString().length;
}
