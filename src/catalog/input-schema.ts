import { Ajv2020, type Options } from "ajv/dist/2020.js";
import { type DocumentPath, type ParsedDocument, problemAt } from "../config/document.ts";
import { FORMATS } from "../contract/formats.ts";
import { isJsonObject, type Json, type JsonObject } from "../contract/json.ts";
import { nearest } from "../contract/nearest.ts";

const SCHEMA_OF: ReadonlySet<string> = new Set(
  "additionalProperties unevaluatedProperties items contains propertyNames not if then else unevaluatedItems".split(
    " ",
  ),
);
const MAP_OF: ReadonlySet<string> = new Set("properties patternProperties $defs dependentSchemas".split(" "));
const LIST_OF: ReadonlySet<string> = new Set("allOf anyOf oneOf prefixItems".split(" "));
/** Keywords whose schemas describe the same value as the schema they stand in. */
const IN_PLACE: ReadonlySet<string> = new Set(
  "allOf anyOf oneOf not if then else dependentSchemas".split(" "),
);
const PLAIN: readonly string[] =
  "$schema $ref $anchor $comment type enum const title description default deprecated readOnly writeOnly examples multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern format maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired".split(
    " ",
  );
const KEYWORDS: ReadonlySet<string> = new Set([...SCHEMA_OF, ...MAP_OF, ...LIST_OF, ...PLAIN]);
const DIALECT = "https://json-schema.org/draft/2020-12/schema";

function optionsOf(side: "input" | "output"): Options {
  return {
    strict: true,
    allowUnionTypes: true,
    // Else `required: [constructor]` is met by every object's prototype.
    ownProperties: true,
    useDefaults: side === "input",
    addUsedSchema: false,
    logger: false,
    formats: FORMATS,
  };
}

/**
 * The validator for tools' schemas: strict, nothing loaded from elsewhere. Of an input, defaults are filled in; an
 * output is left as it is.
 */
export function createValidator(side: "input" | "output"): Ajv2020 {
  return new Ajv2020(optionsOf(side));
}

/** Checks schemas as they stand in manifests. One serves many, since a validator takes 20 ms to make. */
export interface SchemaChecker {
  /**
   * 2020-12, every keyword known, no reference out of the file, and of an input that it takes no keys it does not name.
   * @throws GateError `ERR_TOOL_SCHEMA` with the place.
   */
  check(document: ParsedDocument, side: "input" | "output", path: DocumentPath, schema: JsonObject): void;
}

export function createSchemaChecker(): SchemaChecker {
  const validators = new Map<string, Ajv2020>();
  return {
    check: (document, side, path, schema) => {
      const validator = validators.get(side) ?? new Ajv2020({ ...optionsOf(side), validateSchema: false });
      validators.set(side, validator);
      checkSchema(validator, document, side, path, schema);
    },
  };
}

function isPattern(text: string): boolean {
  try {
    return new RegExp(text, "u") !== undefined;
  } catch {
    return false;
  }
}

/** Why one keyword of a schema is not taken, or undefined. */
function keywordProblem(keyword: string, value: Json): { message: string; remedy?: string } | undefined {
  if (keyword === "$ref" && !(typeof value === "string" && value.startsWith("#"))) {
    return {
      message: "`$ref` leaves the file",
      remedy: "put the schema under `$defs` and refer to it with `#/$defs/…`",
    };
  }
  if (keyword === "$schema" && value !== DIALECT) {
    return { message: "`$schema` names another dialect", remedy: `remove it; schemas are \`${DIALECT}\`` };
  }
  if (keyword === "format" && typeof value === "string" && !Object.hasOwn(FORMATS, value)) {
    const known = Object.keys(FORMATS)
      .map((name) => `\`${name}\``)
      .join(" and ");
    return {
      message: `unknown format \`${value}\``,
      remedy: `the formats known here are ${known}; use \`pattern\` for others`,
    };
  }
  if (keyword === "pattern" && typeof value === "string" && !isPattern(value)) {
    return {
      message: "`pattern` is not a regular expression",
      remedy: "it is read as ECMAScript reads one with the flag `u`",
    };
  }
  if (KEYWORDS.has(keyword)) return undefined;
  const meant = nearest(keyword, KEYWORDS);
  return {
    message: `unknown keyword \`${keyword}\``,
    ...(meant === undefined ? {} : { remedy: `did you mean \`${meant}\`?` }),
  };
}

function isOpen(schema: JsonObject): boolean {
  return schema["additionalProperties"] === undefined && schema["unevaluatedProperties"] === undefined;
}

interface Walk {
  readonly document: ParsedDocument;
  /** An input: every object has to say what else it takes. */
  readonly mustClose: boolean;
}

function walk(of: Walk, path: DocumentPath, schema: Json | undefined, isInPlace: boolean): void {
  if (!isJsonObject(schema)) return;
  const fail = (at: DocumentPath, problem: { message: string; remedy?: string }) =>
    problemAt(of.document, at, problem.message, { ...problem, code: "ERR_TOOL_SCHEMA", onKey: true });
  if (of.mustClose && !isInPlace && schema["properties"] !== undefined && isOpen(schema)) {
    const remedy = "add `additionalProperties: false`, or a schema for what else may stand there";
    throw fail(path, {
      message: "an object of the schema leaves other keys open, so a misspelt one would pass",
      remedy,
    });
  }
  for (const [keyword, value] of Object.entries(schema)) {
    const problem = keywordProblem(keyword, value);
    if (problem !== undefined) throw fail([...path, keyword], problem);
    const inPlace = IN_PLACE.has(keyword);
    if (SCHEMA_OF.has(keyword)) walk(of, [...path, keyword], value, inPlace);
    else if (MAP_OF.has(keyword) && isJsonObject(value)) {
      for (const [name, inner] of Object.entries(value)) walk(of, [...path, keyword, name], inner, inPlace);
    } else if (LIST_OF.has(keyword) && Array.isArray(value)) {
      for (const [index, inner] of value.entries()) walk(of, [...path, keyword, index], inner, inPlace);
    }
  }
}

function fromPointer(pointer: string): (string | number)[] {
  const steps = pointer.split("/").slice(1);
  return steps.map((step) => {
    const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    return /^\d+$/.test(key) ? Number(key) : key;
  });
}

/** Follows a pointer through the document: an index stays a number only in a list. */
function realPath(document: ParsedDocument, base: DocumentPath, pointer: string): DocumentPath {
  let value: unknown = document.value;
  return [...base, ...fromPointer(pointer)].map((step) => {
    const real = Array.isArray(value) ? step : String(step);
    value = (value as Record<PropertyKey, unknown> | undefined)?.[real];
    return real;
  });
}

function checkSchema(
  validator: Ajv2020,
  document: ParsedDocument,
  side: "input" | "output",
  path: DocumentPath,
  schema: JsonObject,
): void {
  const code = "ERR_TOOL_SCHEMA";
  if (side === "input" && schema["type"] !== "object") {
    throw problemAt(document, [...path, "type"], "an input schema must say `type: object`", { code });
  }
  if (
    side === "input" &&
    schema["additionalProperties"] !== false &&
    schema["unevaluatedProperties"] !== false
  ) {
    const remedy = `add \`additionalProperties: false\` under \`${path.join(".")}\``;
    const message = "the input schema leaves other keys open, so a misspelt one would pass";
    throw problemAt(document, path, message, { code, remedy, onKey: true });
  }
  walk({ document, mustClose: side === "input" }, path, schema, false);
  if (validator.validateSchema(schema) !== true) {
    const [first] = validator.errors ?? [];
    const at = realPath(document, path, first?.instancePath ?? "");
    throw problemAt(
      document,
      at,
      `the schema does not fit JSON Schema: ${first?.message ?? "no reason given"}`,
      { code },
    );
  }
  try {
    validator.compile(schema);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problemAt(document, path, `the schema cannot be used: ${reason}`, { code, cause, onKey: true });
  }
}

/** What a property of the input holds, as far as a command argument cares. */
export type PropertyKind = "scalar" | "scalars" | "other" | "unstated";

function resolveRef(root: JsonObject, schema: Json | undefined): Json | undefined {
  let found = schema;
  for (let hops = 0; hops < 8 && isJsonObject(found) && typeof found["$ref"] === "string"; hops += 1) {
    let target: unknown = root;
    for (const step of fromPointer(found["$ref"].slice(1)))
      target = (target as Record<PropertyKey, unknown> | undefined)?.[step];
    found = target as Json | undefined;
  }
  return found;
}

const SCALARS: ReadonlySet<unknown> = new Set(["string", "number", "integer", "boolean"]);

/** Whether a property of the input is one scalar, a list of scalars, or something that no argument can hold. */
export function propertyKind(root: JsonObject, property: Json | undefined): PropertyKind {
  const schema = resolveRef(root, property);
  if (!isJsonObject(schema)) return "unstated";
  const { type, enum: choices, const: only, items } = schema;
  if (Array.isArray(choices) || only !== undefined) {
    const values: readonly Json[] = Array.isArray(choices) ? choices : [only as Json];
    return values.every((value) => ["string", "number", "boolean"].includes(typeof value))
      ? "scalar"
      : "other";
  }
  if (type === undefined) return "unstated";
  if (type === "array") return propertyKind(root, items) === "scalar" ? "scalars" : "other";
  const types: readonly Json[] = Array.isArray(type) ? type : [type];
  return types.every((one) => SCALARS.has(one)) ? "scalar" : "other";
}
