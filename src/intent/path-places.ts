import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { pointerTo } from "./input.ts";
import { bad, type CheckedSchema, subschemas } from "./schema-walk.ts";

/** Keywords whose subschema judges the same value, and those that judge a part of it. */
const SAME = ["allOf", "anyOf", "oneOf", "then", "else", "dependentSchemas"];
const PART = ["properties", "patternProperties", "additionalProperties", "items", "prefixItems"];

/** A string in the input that the schema calls a workspace path, and the container it can be replaced in. */
interface PathPlace {
  readonly pointer: string;
  readonly text: string;
  replace(text: string): void;
}

/** Finds every such string; undefined when the schema has none. */
export type PathFinder = (input: JsonObject) => PathPlace[];

/**
 * Prepares the search for `format: workspace-path`. A value counts as a path when *any* branch of the
 * schema that could speak of it says so, taken or not: one path too many is canonical, one too few is a hole.
 * @throws GateError `ERR_TOOL_SCHEMA` when the format stands where the search does not go (`not`, `if`,
 *   `contains`, `propertyNames`, `unevaluated…`, a definition nobody uses).
 */
export function pathFinder(
  tool: Pick<Tool, "name">,
  schema: CheckedSchema,
  matcher: (pattern: string) => { test(text: string): boolean },
): PathFinder | undefined {
  const marked = [...schema.nodes].filter(([node]) => node["format"] === "workspace-path");
  if (marked.length === 0) return undefined;
  const reached = reach(schema);
  const lost = marked.find(([node]) => !reached.has(node));
  if (lost !== undefined) {
    throw bad(tool, lost[1], "puts `format: workspace-path` where paths are not looked for");
  }
  return (input) => {
    const places = new Map<string, PathPlace>();
    const search = new Search(schema, matcher, places);
    search.visit(schema.root, input, "", () => undefined);
    return [...places.values()];
  };
}

function reach(schema: CheckedSchema): Set<JsonObject> {
  const reached = new Set<JsonObject>();
  const queue: Json[] = [schema.root];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (!isJsonObject(node) || reached.has(node)) continue;
    reached.add(node);
    for (const [keyword, , child] of subschemas(node)) {
      if (SAME.includes(keyword) || PART.includes(keyword)) queue.push(child);
    }
    if (typeof node["$ref"] === "string") queue.push(schema.resolve(node["$ref"]) ?? null);
  }
  return reached;
}

class Search {
  readonly #schema: CheckedSchema;
  readonly #matcher: (pattern: string) => { test(text: string): boolean };
  readonly #places: Map<string, PathPlace>;
  readonly #seen = new Map<string, Set<JsonObject>>();

  constructor(
    schema: CheckedSchema,
    matcher: (pattern: string) => { test(text: string): boolean },
    places: Map<string, PathPlace>,
  ) {
    this.#schema = schema;
    this.#matcher = matcher;
    this.#places = places;
  }

  visit(node: Json | undefined, value: Json, pointer: string, replace: (text: string) => void): void {
    if (!isJsonObject(node) || !this.#first(node, pointer)) return;
    if (node["format"] === "workspace-path" && typeof value === "string") {
      this.#places.set(pointer, { pointer, text: value, replace });
    }
    for (const [keyword, , child] of subschemas(node)) {
      if (SAME.includes(keyword)) this.visit(child, value, pointer, replace);
    }
    if (typeof node["$ref"] === "string") {
      this.visit(this.#schema.resolve(node["$ref"]), value, pointer, replace);
    }
    if (Array.isArray(value)) this.#items(node, value, pointer);
    else if (isJsonObject(value)) this.#members(node, value, pointer);
  }

  /** A schema that refers to itself would otherwise be walked forever. */
  #first(node: JsonObject, pointer: string): boolean {
    const seen = this.#seen.get(pointer) ?? new Set();
    this.#seen.set(pointer, seen);
    return !seen.has(node) && seen.add(node) !== undefined;
  }

  #items(node: JsonObject, array: Json[], pointer: string): void {
    const prefix = Array.isArray(node["prefixItems"]) ? (node["prefixItems"] as Json[]) : [];
    for (const [index, item] of array.entries()) {
      const child = index < prefix.length ? prefix[index] : node["items"];
      this.visit(child, item, pointerTo(pointer, index), (text) => {
        array[index] = text;
      });
    }
  }

  #members(node: JsonObject, object: JsonObject, pointer: string): void {
    const properties = isJsonObject(node["properties"]) ? node["properties"] : {};
    const patterns = isJsonObject(node["patternProperties"]) ? Object.entries(node["patternProperties"]) : [];
    for (const name of Object.keys(object)) {
      const children = Object.hasOwn(properties, name) ? [properties[name]] : [];
      for (const [pattern, child] of patterns) if (this.#matcher(pattern).test(name)) children.push(child);
      if (children.length === 0) children.push(node["additionalProperties"]);
      for (const child of children) {
        this.visit(child, object[name] ?? null, pointerTo(pointer, name), (text) => {
          // Defined, not assigned: the name may be `__proto__`.
          Object.defineProperty(object, name, {
            value: text,
            enumerable: true,
            writable: true,
            configurable: true,
          });
        });
      }
    }
  }
}
