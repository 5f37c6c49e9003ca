import {
  Composer,
  CST,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  type Document as YamlDocument,
} from "yaml";
import type { z } from "zod";
import { GateError, type GateErrorCode, type Place } from "../contract/errors.ts";
import { deepFreeze, type Json } from "../contract/json.ts";
import { explainIssues, type Hint, type Refusal } from "./issues.ts";

export const DOCUMENT_BYTES_MAX: number = 1024 * 1024;
export const DOCUMENT_DEPTH_MAX = 64;

/** A path into a document: keys and indexes from the root. */
export type DocumentPath = readonly PropertyKey[];

/** One YAML or JSON file, parsed, with the place of everything in it. */
export interface ParsedDocument {
  readonly file: string;
  readonly value: Json;
  /** Where the value at `path` begins, or the nearest thing around it that exists. */
  placeOf(path: DocumentPath): Place;
  /** Where the last key of `path` stands, or the nearest thing around it that exists. */
  keyPlaceOf(path: DocumentPath): Place;
}

interface Source {
  readonly file: string;
  readonly lines: LineCounter;
}

/** Anything of YAML that lets a reader and a parser see two different documents. */
const REFUSED_TOKENS: Readonly<Record<string, readonly [message: string, remedy: string]>> = {
  anchor: ["an anchor is not allowed here", "write the value out where it is used"],
  alias: [
    "an alias is not allowed here",
    "write the value out where it is used, or quote it if it is meant as text",
  ],
  tag: ["a tag is not allowed here", "remove it; quote the value if it is meant as text"],
  "directive-line": ["a YAML directive is not allowed here", "remove the line; files are YAML 1.2"],
};

function placeAt(source: Source, offset: number): Place {
  const { line, col } = source.lines.linePos(offset);
  return { file: source.file, line, column: col };
}

function syntaxError(source: Source, offset: number, message: string, remedy?: string): GateError {
  const place = placeAt(source, offset);
  return new GateError("ERR_CONFIG_SYNTAX", message, remedy === undefined ? { place } : { place, remedy });
}

/**
 * Cuts the text into concrete tokens, and stops at what is refused before anything is built from it.
 * INVARIANT: what is returned nests no deeper than the bound, so composing it cannot exhaust the stack.
 */
function tokenize(source: Source, text: string): CST.Token[] {
  const parser = new Parser(source.lines.addNewLine);
  const tokens: CST.Token[] = [];
  let documents = 0;
  let isScalarText = false;
  source.lines.addNewLine(0);
  const take = (batch: Iterable<CST.Token>): void => {
    for (const token of batch) {
      if (token.type === "document") documents += 1;
      if (documents > 1) {
        throw syntaxError(
          source,
          token.offset,
          "a file holds one document",
          "remove the line `---` and what follows it",
        );
      }
      tokens.push(token);
    }
  };
  for (const lexeme of new Lexer().lex(text)) {
    const type: string | null = isScalarText ? null : CST.tokenType(lexeme);
    isScalarText = type === "scalar";
    const refused = type === null ? undefined : REFUSED_TOKENS[type];
    if (refused !== undefined && type === "alias" && /^\*(?:\.|$)/.test(lexeme))
      throw syntaxError(
        source,
        parser.offset,
        `\`${lexeme}\` without quotes is an alias, which is not allowed here`,
        `quote it: \`"${lexeme}"\``,
      );
    if (refused !== undefined) throw syntaxError(source, parser.offset, ...refused);
    take(parser.next(lexeme));
    // One entry of the stack is the document, one may be a scalar under way.
    if (parser.stack.length > DOCUMENT_DEPTH_MAX + 2) {
      throw syntaxError(source, parser.offset, `nested deeper than ${DOCUMENT_DEPTH_MAX} levels`);
    }
  }
  take(parser.end());
  return tokens;
}

function compose(source: Source, text: string): YamlDocument.Parsed {
  const tokens = tokenize(source, text);
  // Duplicate keys are found while converting: the library compares every pair of keys.
  const composer = new Composer({
    version: "1.2",
    schema: "core",
    merge: false,
    uniqueKeys: false,
    logLevel: "silent",
  });
  const [document, extra] = composer.compose(tokens, true, text.length);
  if (document === undefined || extra !== undefined)
    throw syntaxError(source, 0, "a file holds one document");
  const problem = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])[0];
  if (problem?.code === "TAB_AS_INDENT") {
    throw syntaxError(source, problem.pos[0], "a tab is used as indentation", "indent with spaces");
  }
  if (problem !== undefined) {
    const message = problem.message.charAt(0).toLowerCase() + problem.message.slice(1).replace(/[.\s]+$/, "");
    throw syntaxError(source, problem.pos[0], message);
  }
  return document as YamlDocument.Parsed;
}

function offsetOf(node: unknown): number {
  return (node as { range?: readonly [number, number, number] | null } | null)?.range?.[0] ?? 0;
}

function checkText(source: Source, node: Node, text: string): string {
  if (text.includes("\0")) throw syntaxError(source, offsetOf(node), "text holds a NUL");
  if (!text.isWellFormed()) throw syntaxError(source, offsetOf(node), "text holds half of a surrogate pair");
  return text;
}

function convertScalar(source: Source, node: Node, value: unknown): Json {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return checkText(source, node, value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw syntaxError(source, offsetOf(node), "a number must be finite");
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw syntaxError(
        source,
        offsetOf(node),
        "an integer beyond 2^53 cannot be held exactly",
        "quote it to keep it as text",
      );
    }
    // JSON text has no way to keep a negative zero, so it would not survive being written down.
    return value === 0 ? 0 : value;
  }
  throw syntaxError(source, offsetOf(node), "a value of this kind is not allowed here");
}

function convertKey(source: Source, key: unknown, parent: Node): string {
  if (!isScalar(key) || typeof key.value !== "string") {
    const at = offsetOf(key) || offsetOf(parent);
    throw syntaxError(source, at, "a key must be text", "quote it if it is meant as text");
  }
  if (key.value === "<<" && key.type === "PLAIN") {
    throw syntaxError(
      source,
      offsetOf(key),
      "a merge key is not allowed here",
      "write the keys out where they are used",
    );
  }
  if (key.value === "__proto__")
    throw syntaxError(source, offsetOf(key), "`__proto__` is not allowed as a key");
  return checkText(source, key, key.value);
}

function convert(source: Source, node: unknown, depth: number): Json {
  if (node === null || node === undefined) return null;
  const at = node as Node;
  if (isScalar(at)) return convertScalar(source, at, at.value);
  if (depth >= DOCUMENT_DEPTH_MAX) {
    throw syntaxError(source, offsetOf(at), `nested deeper than ${DOCUMENT_DEPTH_MAX} levels`);
  }
  if (isSeq(at)) return at.items.map((item) => convert(source, item, depth + 1));
  if (!isMap(at)) throw syntaxError(source, offsetOf(at), "a value of this kind is not allowed here");
  const object: Record<string, Json> = {};
  for (const pair of at.items) {
    const key = convertKey(source, pair.key, at);
    if (Object.hasOwn(object, key))
      throw syntaxError(source, offsetOf(pair.key), `\`${key}\` appears twice in this map`);
    object[key] = convert(source, pair.value, depth + 1);
  }
  return object;
}

function locate(root: unknown, path: DocumentPath, wantsKey: boolean): number {
  let node = root;
  let offset = offsetOf(root);
  for (const [index, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      if (pair === undefined) return offset;
      node = pair.value;
      const isKey = node === null || (wantsKey && index === path.length - 1);
      offset = offsetOf(isKey ? pair.key : node);
    } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
      node = node.items[step];
      offset = offsetOf(node);
    } else return offset;
  }
  return offset;
}

/**
 * Parses one YAML 1.2 (core schema) or JSON file, strictly: duplicate keys, tabs as indentation, anchors,
 * aliases, merge keys, tags, directives, several documents, keys that are not text, NUL, numbers that do not
 * survive, more than 1 MiB or 64 levels are refused. `file` is the name that errors carry.
 * @throws GateError `ERR_CONFIG_SYNTAX` with the place.
 */
export function parseDocument(text: string, file: string): ParsedDocument {
  const source: Source = { file, lines: new LineCounter() };
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) {
    throw new GateError("ERR_CONFIG_SYNTAX", "the file is larger than 1 MiB", { place: { file } });
  }
  const root = compose(source, text).contents;
  return {
    file,
    value: deepFreeze(convert(source, root, 0)),
    placeOf: (path) => placeAt(source, locate(root, path, false)),
    keyPlaceOf: (path) => placeAt(source, locate(root, path, true)),
  };
}

/**
 * Fits a document to a schema. `refusals` explain keys and values that are known and deliberately not taken, `hints` the
 * way out where the problem itself names none.
 * @throws GateError `ERR_CONFIG_INVALID` with the place of the first problem in the file.
 */
export function validate<T>(
  document: ParsedDocument,
  schema: z.ZodType<T>,
  refusals: readonly Refusal[] = [],
  hints: readonly Hint[] = [],
): T {
  const parsed = schema.safeParse(document.value);
  if (parsed.success) return deepFreeze(parsed.data);
  const problems = explainIssues(parsed.error.issues, schema, document.value, refusals, hints).map(
    (explained) => ({
      ...explained,
      place: explained.onKey ? document.keyPlaceOf(explained.path) : document.placeOf(explained.path),
    }),
  );
  const order = (place: Place): number => (place.line ?? 0) * 1e7 + (place.column ?? 0);
  const [first] = problems.sort((a, b) => order(a.place) - order(b.place));
  if (first === undefined)
    throw new GateError("ERR_CONFIG_INVALID", "the file does not fit its schema", {
      place: { file: document.file },
    });
  const { message, remedy, place } = first;
  throw new GateError("ERR_CONFIG_INVALID", message, remedy === undefined ? { place } : { place, remedy });
}

/** An error at the value under `path`: what a schema cannot say. */
export function problemAt(
  document: ParsedDocument,
  path: DocumentPath,
  message: string,
  options: {
    readonly code?: GateErrorCode;
    readonly remedy?: string;
    readonly onKey?: boolean;
    readonly cause?: unknown;
  } = {},
): GateError {
  const { code = "ERR_CONFIG_INVALID", onKey = false, ...rest } = options;
  return new GateError(code, message, {
    ...rest,
    place: onKey ? document.keyPlaceOf(path) : document.placeOf(path),
  });
}
