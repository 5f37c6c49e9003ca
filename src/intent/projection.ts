import canonicalize from "canonicalize";
import { type Digest, digestOf } from "../contract/ids.ts";
import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import { pointerTo } from "./input.ts";
import type { CedarRecord, CedarType } from "./input-type.ts";

/** Something in the input that policy cannot see whole. */
export interface Opaque {
  /** RFC 6901. */
  readonly pointer: string;
  /** SHA-256 over the value's RFC 8785 form. */
  readonly digest: Digest;
}

/** What policy sees of an input. */
export interface Projection {
  /** Conforms to the tool's Cedar type, so Cedar can neither refuse it nor read an entity out of it. */
  readonly input: JsonObject;
  /** Sorted by pointer. */
  readonly opaque: readonly Opaque[];
}

/**
 * Keeps of an input what its Cedar type can hold. The rest (nulls, floats, undeclared properties, values of
 * mixed type, and the order of every list longer than one) is named by pointer and digest. The types decide,
 * never the size, so nobody hides a declared value from policy by making it long.
 */
export function projectInput(type: CedarRecord, input: JsonObject): Projection {
  const opaque: Opaque[] = [];
  const projected = project(input, type, "", opaque);
  opaque.sort((a, b) => (a.pointer < b.pointer ? -1 : 1));
  return { input: isJsonObject(projected) ? projected : {}, opaque };
}

/** Undefined when the value is of another type altogether; the caller then names it as opaque. */
function project(value: Json, type: CedarType, pointer: string, opaque: Opaque[]): Json | undefined {
  switch (type.type) {
    case "String":
      return typeof value === "string" ? value : undefined;
    case "Boolean":
      return typeof value === "boolean" ? value : undefined;
    case "Long":
      return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
    case "Set":
      return Array.isArray(value) ? projectSet(value, type.element, pointer, opaque) : undefined;
    case "Record":
      return isJsonObject(value) ? projectRecord(value, type, pointer, opaque) : undefined;
    default:
      return type satisfies never;
  }
}

/** A set with a hole in it would lie, so one element that does not fit makes the whole list opaque. */
function projectSet(
  array: Json[],
  element: CedarType,
  pointer: string,
  opaque: Opaque[],
): Json[] | undefined {
  const inner: Opaque[] = [];
  const members: Json[] = [];
  for (const [index, item] of array.entries()) {
    const member = project(item, element, pointerTo(pointer, index), inner);
    if (member === undefined) return undefined;
    members.push(member);
  }
  for (const one of inner) opaque.push(one);
  // A set has neither order nor repetition.
  if (array.length > 1) opaque.push(hide(array, pointer));
  return members;
}

/** A record without an attribute its type requires is none. Valid input never comes to that. */
function projectRecord(
  object: JsonObject,
  type: CedarRecord,
  pointer: string,
  opaque: Opaque[],
): JsonObject | undefined {
  const inner: Opaque[] = [];
  const attributes: Record<string, Json> = {};
  for (const name of Object.keys(object)) {
    const value = object[name] ?? null;
    const at = pointerTo(pointer, name);
    const attribute = Object.hasOwn(type.attributes, name) ? type.attributes[name] : undefined;
    const member = attribute && project(value, attribute, at, inner);
    if (member === undefined) inner.push(hide(value, at));
    else attributes[name] = member;
  }
  for (const [name, { required }] of Object.entries(type.attributes)) {
    if (required && !Object.hasOwn(attributes, name)) return undefined;
  }
  for (const one of inner) opaque.push(one);
  return attributes;
}

function hide(value: Json, pointer: string): Opaque {
  return { pointer, digest: digestOf(canonicalize(value) ?? "null") };
}
