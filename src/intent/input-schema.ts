import type { Ajv2020, ErrorObject, Options, ValidateFunction } from "ajv/dist/2020.js";
import type { GateErrorCode } from "../contract/errors.ts";
import { FORMATS } from "../contract/formats.ts";
import type { Digest } from "../contract/ids.ts";
import { deepFreeze, isJsonObject, type JsonObject } from "../contract/json.ts";
import { didYouMean } from "../contract/nearest.ts";
import type { Tool } from "../contract/tool.ts";
import type { Facts } from "./facts.ts";
import { pointerTo, thaw } from "./input.ts";
import { type PathFinder, pathFinder } from "./path-places.ts";
import { createPatterns, PatternTimeout } from "./pattern.ts";
import { bad, checkSchema } from "./schema-walk.ts";
import { canonicalPath } from "./workspace-path.ts";

/** Compiled schemas kept; the least recently used goes first. */
const VALIDATORS_MAX = 512;

/** ajv refuses a tool with any other, or its author would think it holds. */
const CHECKED_FORMATS: NonNullable<Options["formats"]> = {
  ...FORMATS,
  // Checked where the workspace is known; see workspace-path.ts.
  "workspace-path": true,
};

interface ValidInput {
  readonly ok: true;
  /** With defaults filled in and paths canonical; frozen. What policy judges and what runs. */
  readonly input: JsonObject;
}

export interface InvalidInput {
  readonly ok: false;
  readonly code: Extract<GateErrorCode, "ERR_INPUT_SCHEMA" | "ERR_PATH_OUTSIDE">;
  /** RFC 6901, into the input. */
  readonly pointer: string;
  readonly message: string;
  readonly remedy?: string;
}

export type InputResult = ValidInput | InvalidInput;

/** Judges input against tools' schemas, compiling each once. */
export interface InputValidator {
  /** Compiles a tool's schema ahead. @throws GateError `ERR_TOOL_SCHEMA`. */
  load(tool: Tool): void;
  /** @throws GateError `ERR_TOOL_SCHEMA` when the tool was not loaded before and cannot be. */
  validate(tool: Tool, input: JsonObject, facts: Facts): InputResult;
}

interface Compiled {
  readonly fits: ValidateFunction;
  readonly findPaths: PathFinder | undefined;
  readonly patterned: Patterns;
}

type Patterns = ReturnType<typeof createPatterns>;

/** Loads ajv, which costs about 20 ms, and no tool yet. */
export async function createInputValidator(): Promise<InputValidator> {
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  const compiled = new Map<Digest, Compiled>();
  const load = (tool: Tool): Compiled => {
    const entry = compiled.get(tool.digest) ?? compile(Ajv2020, tool);
    // Reinserted behind all others: a Map keeps order.
    compiled.delete(tool.digest);
    compiled.set(tool.digest, entry);
    const [oldest] = compiled.keys();
    if (compiled.size > VALIDATORS_MAX && oldest !== undefined) compiled.delete(oldest);
    return entry;
  };
  return { load, validate: (tool, input, facts) => validate(load(tool), input, facts) };
}

/** Each tool gets an Ajv of its own: they share nothing, so an evicted one is freed. */
function compile(Ajv: typeof Ajv2020, tool: Tool): Compiled {
  const schema = checkSchema(tool);
  const patterned = createPatterns();
  const findPaths = pathFinder(tool, schema, patterned);
  const ajv = new Ajv(options(patterned));
  // Without `$id` and `$schema`: checked above, and ajv would look them up.
  const { $id, $schema, ...bare } = thaw(schema.root);
  try {
    return { fits: ajv.compile(bare), findPaths, patterned };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw bad(tool, "", `is not usable: ${message}`, cause);
  }
}

function options(patterned: Patterns): Options {
  const engine = (pattern: string): RegExp => patterned(pattern) as RegExp;
  return {
    strict: true,
    allowUnionTypes: true,
    allErrors: false,
    // A failing value's schema is needed for "did you mean".
    verbose: true,
    useDefaults: true,
    // Or `required: ["constructor"]` would hold for `{}`.
    ownProperties: true,
    unicodeRegExp: true,
    formats: CHECKED_FORMATS,
    code: { regExp: Object.assign(engine, { code: "patterned" }) },
    // ajv writes to the console otherwise.
    logger: false,
  };
}

function validate(tool: Compiled, given: JsonObject, facts: Facts): InputResult {
  const input = thaw(given);
  const misfit = fits(tool, input) ?? canonicalise(tool, input, facts);
  if (misfit !== undefined) return misfit;
  // Defaults and canonical paths are new values: `pattern: "^src/"` must hold for where `src/../x` leads.
  return fits(tool, input) ?? { ok: true, input: deepFreeze(input) };
}

function fits(tool: Compiled, input: JsonObject): InvalidInput | undefined {
  try {
    if (tool.fits(input) === true) return undefined;
    return describe(tool.fits.errors?.[0]);
  } catch (error) {
    if (!(error instanceof PatternTimeout)) throw error;
    return {
      ok: false,
      code: "ERR_INPUT_SCHEMA",
      pointer: "",
      message: "a pattern of the schema took too long",
    };
  }
}

function canonicalise(tool: Compiled, input: JsonObject, facts: Facts): InvalidInput | undefined {
  for (const place of tool.findPaths?.(input) ?? []) {
    const result = canonicalPath(place.text, facts);
    if (!result.ok) {
      return {
        ok: false,
        code: result.code,
        pointer: place.pointer,
        message: `path at \`${place.pointer}\` ${result.message}`,
      };
    }
    place.replace(result.path);
  }
  return undefined;
}

function describe(error: ErrorObject | undefined): InvalidInput {
  const invalid = (pointer: string, message: string, remedy?: string): InvalidInput => ({
    ok: false,
    code: "ERR_INPUT_SCHEMA",
    pointer,
    message,
    ...(remedy === undefined ? {} : { remedy }),
  });
  if (error === undefined) return invalid("", "input does not fit the tool's schema");
  const at = error.instancePath;
  const where = at === "" ? "input" : `input at \`${at}\``;
  const params = error.params as Record<string, unknown>;
  if (error.keyword === "additionalProperties" || error.keyword === "unevaluatedProperties") {
    const name = String(params["additionalProperty"] ?? params["unevaluatedProperty"]);
    return invalid(
      pointerTo(at, name),
      `${where} has no property \`${name}\``,
      suggest(name, error.parentSchema),
    );
  }
  if (error.keyword === "required") {
    const name = String(params["missingProperty"]);
    return invalid(pointerTo(at, name), `${where} needs the property \`${name}\``);
  }
  if (error.keyword === "enum") {
    return invalid(
      at,
      `${where} is none of ${list(params["allowedValues"])}`,
      suggest(error.data, params["allowedValues"]),
    );
  }
  return invalid(at, `${where} ${error.message ?? "does not fit"}`);
}

/** The nearest name out of the properties of a schema, or out of a list. */
function suggest(name: unknown, among: unknown): string | undefined {
  if (typeof name !== "string") return undefined;
  if (Array.isArray(among))
    return didYouMean(
      name,
      among.filter((one) => typeof one === "string"),
    );
  const properties = isJsonObject(among) ? among["properties"] : undefined;
  return isJsonObject(properties) ? didYouMean(name, Object.keys(properties)) : undefined;
}

function list(values: unknown): string {
  const shown = (Array.isArray(values) ? values : []).slice(0, 8).map((value) => `\`${String(value)}\``);
  return shown.join(", ");
}
