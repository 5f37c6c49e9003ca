import canonicalize from "canonicalize";
import { z } from "zod";
import { parseDocument, problemAt, validate } from "../config/document.ts";
import { GateError } from "../contract/errors.ts";
import { type Digest, digestOf } from "../contract/ids.ts";
import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { RESERVED_PREFIX } from "./builtin.ts";
import type { Catalog } from "./create-catalog.ts";

interface LockedTool {
  readonly digest: Digest;
  readonly definition: JsonObject;
}

/** `callgate.lock`: the definitions a person has looked at, by tool name. */
export interface Lock {
  readonly tools: ReadonlyMap<string, LockedTool>;
}

export interface FieldChange {
  /** Keys joined by dots. */
  readonly field: string;
  /** Undefined: was not there. */
  readonly before: Json | undefined;
  /** Undefined: is no longer there. */
  readonly after: Json | undefined;
}

export interface LockDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly { readonly name: string; readonly fields: readonly FieldChange[] }[];
}

interface LockFile {
  readonly version: 1;
  readonly tools: Readonly<Record<string, JsonObject>>;
}

const lockSchema: z.ZodType<LockFile> = z.strictObject({
  version: z.literal(1),
  tools: z.record(z.string(), z.record(z.string(), z.unknown())) as unknown as z.ZodType<LockFile["tools"]>,
});

function definitionOf({ digest: _, ...definition }: Tool): JsonObject {
  return definition as unknown as JsonObject;
}

/** Built-in tools change with the package, which has a lock of its own. */
function lockable(catalog: Catalog): Tool[] {
  return [...catalog.tools.values()].filter(({ name }) => !name.startsWith(RESERVED_PREFIX));
}

/** The text of `callgate.lock` for this catalogue: sorted keys, one value a line, so that a review is a diff. */
export function lockText(catalog: Catalog): string {
  const tools = Object.fromEntries(lockable(catalog).map((tool) => [tool.name, tool]));
  // RFC 8785 sorts the keys; parsing and printing keeps that order and adds the lines.
  return `${JSON.stringify(JSON.parse(canonicalize({ version: 1, tools }) ?? ""), undefined, 2)}\n`;
}

/**
 * Reads a `callgate.lock`. What is reviewed is the text, so a digest that is not of the text beside it is refused.
 * @throws GateError `ERR_CONFIG_SYNTAX` or `ERR_CONFIG_INVALID` with the place.
 */
export function parseLock(text: string, file: string): Lock {
  const document = parseDocument(text, file);
  const parsed = validate(document, lockSchema);
  const tools = Object.entries(parsed.tools).map(([name, entry]): [string, LockedTool] => {
    const { digest, ...definition } = entry;
    const found = digestOf(canonicalize(definition) ?? "");
    if (digest !== found || definition["name"] !== name) {
      throw problemAt(document, ["tools", name], `the digest of \`${name}\` is not of the text beside it`, {
        remedy: "look at the tools, then `callgate tools lock`",
        onKey: true,
      });
    }
    return [name, { digest: found, definition }];
  });
  return { tools: new Map(tools) };
}

function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  return a === undefined || b === undefined ? a === b : canonicalize(a) === canonicalize(b);
}

function diffFields(before: JsonObject, after: JsonObject, prefix: string): FieldChange[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap((key): FieldChange[] => {
    const [old, now] = [before[key], after[key]];
    const field = prefix === "" ? key : `${prefix}.${key}`;
    if (sameJson(old, now)) return [];
    return isJsonObject(old) && isJsonObject(now)
      ? diffFields(old, now, field)
      : [{ field, before: old, after: now }];
  });
}

/** What is different between the lock and the catalogue, down to the field. */
export function diffLock(lock: Lock, catalog: Catalog): LockDiff {
  const tools = lockable(catalog);
  const names = new Set<string>(tools.map(({ name }) => name));
  return {
    added: tools.filter(({ name }) => !lock.tools.has(name)).map(({ name }) => name),
    removed: [...lock.tools.keys()].filter((name) => !names.has(name)).sort(),
    changed: tools.flatMap((tool) => {
      const locked = lock.tools.get(tool.name);
      if (locked === undefined || locked.digest === tool.digest) return [];
      return [{ name: tool.name, fields: diffFields(locked.definition, definitionOf(tool), "") }];
    }),
  };
}

/**
 * Holds a tool against the lock, where there is one.
 * @throws GateError `ERR_LOCK_MISMATCH` when the tool is new or not as it was locked.
 */
export function checkLock(lock: Lock | undefined, tool: Tool): void {
  if (lock === undefined || tool.name.startsWith(RESERVED_PREFIX)) return;
  const locked = lock.tools.get(tool.name);
  if (locked?.digest === tool.digest) return;
  const message =
    locked === undefined
      ? `\`${tool.name}\` is not in \`callgate.lock\``
      : `\`${tool.name}\` is not as \`callgate.lock\` has it`;
  throw new GateError("ERR_LOCK_MISMATCH", message, {
    remedy: "look at it with `callgate tools diff`, then `callgate tools lock`",
  });
}
