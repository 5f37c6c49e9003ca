import { GateError } from "../contract/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { pointerTo } from "./input.ts";

/** The bytes of one tool's input schema; a tool server may be hostile. */
const SCHEMA_BYTES_MAX = 256 * 1024;
const SCHEMA_DEPTH_MAX = 64;

/** Keywords of JSON Schema 2020-12 whose value is a map of schemas, a list of them, or one. */
const MAPS = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"] as const;
const LISTS = ["allOf", "anyOf", "oneOf", "prefixItems"] as const;
const SINGLES = [
  "items",
  "additionalProperties",
  "not",
  "if",
  "then",
  "else",
  "contains",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
] as const;

/**
 * Keywords that change what `$ref` means, turn a verdict into a promise, which is truthy (`$async`), or let
 * in what `type` says is not there (`nullable`, not of JSON Schema but of ajv).
 */
const REFUSED = [
  "$async",
  "nullable",
  "$anchor",
  "$dynamicAnchor",
  "$dynamicRef",
  "$recursiveRef",
  "$recursiveAnchor",
  "$vocabulary",
];

const DIALECT = "https://json-schema.org/draft/2020-12/schema";

/** One tool's input schema, checked once, with every subschema known. */
export interface CheckedSchema {
  readonly root: JsonObject;
  /** Every schema that is an object, with its pointer from the root. */
  readonly nodes: ReadonlyMap<JsonObject, string>;
  /** What a `$ref` of this schema stands for. */
  resolve(ref: string): Json | undefined;
}

/**
 * Checks what ajv does not: that references stay inside, that nothing is asynchronous, sizes.
 * @throws GateError `ERR_TOOL_SCHEMA` naming the tool and the pointer.
 */
export function checkSchema(tool: Pick<Tool, "name" | "input">): CheckedSchema {
  const root = tool.input;
  if (root["type"] !== "object") throw bad(tool, "", "must say `type: object`");
  const nodes = new Map<JsonObject, string>();
  collect(tool, root, "", 0, nodes);
  if (JSON.stringify(root).length > SCHEMA_BYTES_MAX)
    throw bad(tool, "", `is over ${SCHEMA_BYTES_MAX} bytes`);
  const resolve = (ref: string): Json | undefined => resolvePointer(root, ref);
  for (const [node, pointer] of nodes) checkNode(tool, node, pointer, nodes, resolve);
  return { root, nodes, resolve };
}

/** `ERR_TOOL_SCHEMA` with tool and pointer, which every check of schemas throws. */
export function bad(tool: Pick<Tool, "name">, pointer: string, what: string, cause?: unknown): GateError {
  const where = pointer === "" ? "input schema" : `input schema at \`${pointer}\``;
  return new GateError("ERR_TOOL_SCHEMA", `tool \`${tool.name}\`: ${where} ${what}`, { cause });
}

function collect(
  tool: Pick<Tool, "name">,
  schema: Json | undefined,
  pointer: string,
  depth: number,
  nodes: Map<JsonObject, string>,
): void {
  if (depth > SCHEMA_DEPTH_MAX) throw bad(tool, pointer, `nests deeper than ${SCHEMA_DEPTH_MAX} levels`);
  if (!isJsonObject(schema) || nodes.has(schema)) return;
  nodes.set(schema, pointer);
  for (const [keyword, segments, child] of subschemas(schema)) {
    const at = segments.reduce<string>(pointerTo, pointerTo(pointer, keyword));
    collect(tool, child, at, depth + 1, nodes);
  }
}

/** Every direct subschema with the keyword that applies it and the steps below that keyword. */
export function* subschemas(schema: JsonObject): Generator<[keyword: string, steps: string[], child: Json]> {
  for (const keyword of MAPS) {
    const map = schema[keyword];
    if (isJsonObject(map)) for (const name of Object.keys(map)) yield [keyword, [name], map[name] ?? null];
  }
  for (const keyword of LISTS) {
    const list = schema[keyword];
    if (Array.isArray(list))
      for (const [index, child] of list.entries()) yield [keyword, [`${index}`], child];
  }
  for (const keyword of SINGLES) {
    const child = schema[keyword];
    if (child !== undefined) yield [keyword, [], child];
  }
}

function checkNode(
  tool: Pick<Tool, "name">,
  node: JsonObject,
  pointer: string,
  nodes: ReadonlyMap<JsonObject, string>,
  resolve: (ref: string) => Json | undefined,
): void {
  const refused = REFUSED.find((keyword) => Object.hasOwn(node, keyword));
  if (refused !== undefined) throw bad(tool, pointer, `uses \`${refused}\`, which tools may not`);
  if (pointer !== "" && Object.hasOwn(node, "$id")) throw bad(tool, pointer, "has an `$id` of its own");
  const dialect = node["$schema"];
  if (dialect !== undefined && String(dialect).replace(/#$/, "") !== DIALECT) {
    throw bad(tool, pointer, `is not JSON Schema 2020-12: \`$schema\` is \`${String(dialect)}\``);
  }
  const properties = node["properties"];
  if (isJsonObject(properties) && Object.hasOwn(properties, "__proto__")) {
    throw bad(tool, pointer, "names a property `__proto__`");
  }
  const ref = node["$ref"];
  if (ref === undefined) return;
  const target = typeof ref === "string" ? resolve(ref) : undefined;
  // A reference into an `enum` or `default` would make data a schema nobody checked.
  if (target === undefined || (isJsonObject(target) && !nodes.has(target))) {
    throw bad(tool, pointer, `refers to \`${String(ref)}\`, which is no schema inside this one`);
  }
}

function resolvePointer(root: JsonObject, ref: string): Json | undefined {
  if (ref === "#") return root;
  if (!ref.startsWith("#/")) return undefined;
  let at: Json | undefined = root;
  for (const raw of ref.slice(2).split("/")) {
    const segment = decodeFragment(raw)?.replaceAll("~1", "/").replaceAll("~0", "~");
    if (segment === undefined) return undefined;
    if (Array.isArray(at)) at = at[Number(segment)];
    else if (isJsonObject(at) && Object.hasOwn(at, segment)) at = at[segment];
    else return undefined;
  }
  return at;
}

function decodeFragment(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
