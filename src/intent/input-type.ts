import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { type CheckedSchema, checkSchema } from "./schema-walk.ts";

/** A type of Cedar's, as its JSON schema spells it. */
export type CedarType =
  | { readonly type: "String" | "Long" | "Boolean" }
  | { readonly type: "Set"; readonly element: CedarType }
  | CedarRecord;

export interface CedarRecord {
  readonly type: "Record";
  readonly attributes: Readonly<Record<string, CedarType & { readonly required: boolean }>>;
}

const TYPE_DEPTH_MAX = 16;

/** In a value's JSON these mean "an entity" or "a call" to Cedar. */
const ESCAPES = ["__entity", "__extn", "__expr"];

/** What Cedar can hold of a value; `total`: every valid value fits whole. */
interface Fit {
  readonly type: CedarType;
  readonly total: boolean;
}

/**
 * The Cedar type of a tool's input: what of its JSON Schema always reads one way. Left out, and so never
 * seen by policy but as pointer and digest: `number`, unions of types, tuples, undeclared properties.
 */
export function inputType(tool: Pick<Tool, "name" | "input">): CedarRecord {
  const schema = checkSchema(tool);
  const fit = fitOf(schema.root, schema, []);
  return fit?.type.type === "Record" ? fit.type : { type: "Record", attributes: {} };
}

function fitOf(node: Json | undefined, schema: CheckedSchema, above: readonly JsonObject[]): Fit | undefined {
  if (!isJsonObject(node) || above.includes(node) || above.length > TYPE_DEPTH_MAX) return undefined;
  const within = [...above, node];
  const parts = allOf(node, schema);
  const kinds = kindsOf(parts);
  if (kinds === undefined) return branches(parts, schema, within);
  const [kind, another] = [...kinds].filter((one) => one !== "null");
  if (kind === undefined || another !== undefined) return undefined;
  const type = typeOf(kind, parts, schema, within);
  return type && { type: type.type, total: type.total && !kinds.has("null") };
}

/** The schemas that hold for a value at once: itself, what it refers to, and its `allOf`. */
function allOf(node: JsonObject, schema: CheckedSchema): JsonObject[] {
  const parts = new Set<JsonObject>();
  const queue: Json[] = [node];
  for (let part = queue.pop(); part !== undefined; part = queue.pop()) {
    if (!isJsonObject(part) || parts.has(part)) continue;
    parts.add(part);
    if (typeof part["$ref"] === "string") queue.push(schema.resolve(part["$ref"]) ?? null);
    if (Array.isArray(part["allOf"])) queue.push(...(part["allOf"] as Json[]));
  }
  return [...parts];
}

/** The JSON types a value may have under all parts; undefined when no part says. */
function kindsOf(parts: readonly JsonObject[]): Set<string> | undefined {
  let kinds: Set<string> | undefined;
  for (const part of parts) {
    const said = kindsSaid(part);
    if (said !== undefined) kinds = kinds === undefined ? said : narrower(kinds, said);
  }
  return kinds;
}

function kindsSaid(part: JsonObject): Set<string> | undefined {
  const type = part["type"];
  if (typeof type === "string") return new Set([type]);
  if (Array.isArray(type)) return new Set(type.map(String));
  if (Object.hasOwn(part, "const")) return new Set([kindOf(part["const"] ?? null)]);
  if (Array.isArray(part["enum"])) return new Set((part["enum"] as Json[]).map(kindOf));
  return undefined;
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function narrower(a: Set<string>, b: Set<string>): Set<string> {
  const both = a.intersection(b);
  if ((a.has("integer") && b.has("number")) || (a.has("number") && b.has("integer"))) both.add("integer");
  return both;
}

/** `anyOf` or `oneOf` where every branch has the same type, one possibly `null`. */
function branches(
  parts: readonly JsonObject[],
  schema: CheckedSchema,
  within: readonly JsonObject[],
): Fit | undefined {
  const choice = parts.map((part) => part["anyOf"] ?? part["oneOf"]).find((one) => one !== undefined);
  if (!Array.isArray(choice)) return undefined;
  const isNull = (one: Json): boolean => isJsonObject(one) && one["type"] === "null";
  const fits = (choice as Json[]).filter((one) => !isNull(one)).map((one) => fitOf(one, schema, within));
  const [first, ...others] = fits;
  if (first === undefined || !others.every((one) => one && same(one.type, first.type))) return undefined;
  const total = !choice.some(isNull) && fits.every((one) => one?.total === true);
  return { type: first.type, total };
}

function same(a: CedarType, b: CedarType): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function typeOf(
  kind: string,
  parts: readonly JsonObject[],
  schema: CheckedSchema,
  within: readonly JsonObject[],
): Fit | undefined {
  if (kind === "string") return { type: { type: "String" }, total: true };
  if (kind === "integer") return { type: { type: "Long" }, total: true };
  if (kind === "boolean") return { type: { type: "Boolean" }, total: true };
  if (kind === "array") return setOf(parts, schema, within);
  if (kind === "object") return { type: recordOf(parts, schema, within), total: true };
  return undefined;
}

function setOf(
  parts: readonly JsonObject[],
  schema: CheckedSchema,
  within: readonly JsonObject[],
): Fit | undefined {
  if (parts.some((part) => part["prefixItems"] !== undefined)) return undefined;
  const [items, another] = parts.map((part) => part["items"]).filter((one) => one !== undefined);
  if (another !== undefined) return undefined;
  const element = fitOf(items, schema, within);
  return element && { type: { type: "Set", element: element.type }, total: element.total };
}

function recordOf(
  parts: readonly JsonObject[],
  schema: CheckedSchema,
  within: readonly JsonObject[],
): CedarRecord {
  const attributes: Record<string, CedarType & { required: boolean }> = {};
  const refused = new Set<string>(ESCAPES);
  for (const part of parts) {
    const properties = isJsonObject(part["properties"]) ? part["properties"] : {};
    for (const [name, property] of Object.entries(properties)) {
      const fit = fitOf(property, schema, within);
      const known = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
      if (fit === undefined || known !== undefined) refused.add(name);
      else attributes[name] = { ...fit.type, required: fit.total && present(name, property, parts) };
    }
  }
  for (const name of refused) delete attributes[name];
  return { type: "Record", attributes };
}

/** Whether a property is there in every valid input: required, or filled in from its default. */
function present(name: string, property: Json, parts: readonly JsonObject[]): boolean {
  const required = parts.some((part) => Array.isArray(part["required"]) && part["required"].includes(name));
  const hasDefault = isJsonObject(property) && property["default"] !== undefined;
  // ajv fills a default in only where reading the property gives undefined.
  return required || (hasDefault && !(name in Object.prototype));
}
