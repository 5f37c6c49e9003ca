import type { z } from "zod";
import type { Json } from "../contract/json.ts";
import { nearest } from "../contract/nearest.ts";

/** A key or value that is understood and deliberately not taken, with the reason. */
export interface Refusal {
  /** Keys from the root joined by dots; `*` stands for any one step. */
  readonly path: string;
  readonly message: string;
  readonly remedy?: string;
}

/** What can be done about whatever is wrong at one place, where the problem itself does not say. */
export interface Hint {
  /** Keys from the root joined by dots, nothing for the root; `*` stands for any one step. */
  readonly path: string;
  /** Only for this value, and then instead of what is near to it. */
  readonly value?: string;
  readonly remedy: string;
}

export interface ExplainedIssue {
  readonly path: readonly PropertyKey[];
  /** The problem is the key at the end of `path`, not its value. */
  readonly onKey: boolean;
  readonly message: string;
  readonly remedy?: string;
  /** Of an unknown key: the one that was meant, which is then not told as missing. */
  readonly meant?: string;
  readonly isMissing?: boolean;
}

interface SchemaParts {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  readonly element?: z.core.$ZodType;
  readonly valueType?: z.core.$ZodType;
  readonly innerType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly options?: readonly z.core.$ZodType[];
}

function partsOf(schema: z.core.$ZodType): SchemaParts {
  return schema._zod.def as unknown as SchemaParts;
}

/** Every object schema that may stand at `path`, through optionals, defaults, pipes and unions. */
function objectsAt(schema: z.core.$ZodType | undefined, path: readonly PropertyKey[]): SchemaParts[] {
  if (schema === undefined) return [];
  const parts = partsOf(schema);
  if (parts.options !== undefined) return parts.options.flatMap((option) => objectsAt(option, path));
  const inner = parts.innerType ?? parts.in;
  if (inner !== undefined) return objectsAt(inner, path);
  const [step, ...rest] = path;
  if (step === undefined) return parts.shape === undefined ? [] : [parts];
  if (parts.shape !== undefined) return objectsAt(parts.shape[String(step)], rest);
  return objectsAt(parts.element ?? parts.valueType, rest);
}

function knownKeys(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  return objectsAt(schema, path).flatMap((parts) => Object.keys(parts.shape ?? {}));
}

function nameOf(path: readonly PropertyKey[]): string {
  let name = "";
  for (const step of path)
    name += typeof step === "number" ? `[${step}]` : `${name === "" ? "" : "."}${String(step)}`;
  return name === "" ? "the file" : `\`${name}\``;
}

function valueAt(value: Json | undefined, path: readonly PropertyKey[]): Json | undefined {
  let found: unknown = value;
  for (const step of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, step)) return undefined;
    found = (found as Record<PropertyKey, unknown>)[step];
  }
  return found as Json | undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  object: "a map",
  record: "a map",
  array: "a list",
  tuple: "a list",
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "`true` or `false`",
};

const SHOWN_LENGTH_MAX = 100;
/** What YAML reads as text without quotes, also within brackets. */
const PLAIN = /^[A-Za-z][\w./-]*$/;

function unknownKey(schema: z.core.$ZodType, path: readonly PropertyKey[], key: string): ExplainedIssue {
  const known = knownKeys(schema, path);
  const meant = nearest(key, known);
  const listed = known.map((name) => `\`${name}\``).join(", ");
  return {
    path: [...path, key],
    onKey: true,
    message: `unknown key \`${key}\``,
    ...(meant !== undefined
      ? { meant, remedy: `did you mean \`${meant}\`?` }
      : known.length > 0
        ? { remedy: `the keys known here are ${listed}` }
        : {}),
  };
}

function badChoice(
  issue: z.core.$ZodIssueInvalidValue,
  name: string,
  actual: Json | undefined,
): Omit<ExplainedIssue, "path" | "onKey"> {
  const choices = issue.values.map((value) => `\`${String(value)}\``).join(", ");
  const only = issue.values.length === 1;
  const meant = typeof actual === "string" ? nearest(actual, issue.values.map(String)) : undefined;
  return {
    message: `${name} must be ${only ? "" : "one of "}${choices}`,
    ...(meant === undefined ? {} : { remedy: `did you mean \`${meant}\`?` }),
  };
}

function bound(issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall, name: string): string {
  const isBig = issue.code === "too_big";
  const limit = isBig ? issue.maximum : issue.minimum;
  const most = `${isBig ? "at most" : "at least"} ${limit}`;
  if (issue.origin === "array") return `${name} must have ${most} ${limit === 1 ? "entry" : "entries"}`;
  return `${name} must be ${most}${issue.origin === "string" ? " characters" : ""}`;
}

/** A single value where a list of such is meant. */
function asList(path: readonly PropertyKey[], actual: Json | undefined): { readonly remedy?: string } {
  const key = path.at(-1);
  if (typeof key !== "string" || (typeof actual !== "string" && typeof actual !== "number")) return {};
  const value = typeof actual === "number" || PLAIN.test(actual) ? String(actual) : JSON.stringify(actual);
  if (value.length > SHOWN_LENGTH_MAX) return {};
  return { remedy: `write \`${key}: [${value}]\`` };
}

function explain(issue: z.core.$ZodIssue, schema: z.core.$ZodType, root: Json): ExplainedIssue[] {
  const { path } = issue;
  const name = nameOf(path);
  const actual = valueAt(root, path);
  const onKey = false;
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(schema, path, key));
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    // The form that got furthest is the one that was meant.
    const deepest = issue.errors.reduce((best, errors) => (depthOf(errors) > depthOf(best) ? errors : best));
    return deepest.flatMap((inner) => explain({ ...inner, path: [...path, ...inner.path] }, schema, root));
  }
  if (issue.code === "invalid_key")
    return [{ path, onKey: true, message: `${name} is not allowed as a key` }];
  if (issue.code === "custom") {
    const { remedy } = (issue.params ?? {}) as { readonly remedy?: string };
    return [{ path, onKey, message: issue.message, ...(remedy === undefined ? {} : { remedy }) }];
  }
  if (actual === undefined && path.length > 0)
    return [{ path, onKey, message: `${name} is missing`, isMissing: true }];
  switch (issue.code) {
    case "invalid_value":
      return [{ path, onKey, ...badChoice(issue, name, actual) }];
    case "invalid_type": {
      const remedy = issue.expected === "array" ? asList(path, actual) : {};
      return [
        { path, onKey, message: `${name} must be ${KINDS[issue.expected] ?? issue.expected}`, ...remedy },
      ];
    }
    case "too_big":
    case "too_small":
      return [{ path, onKey, message: bound(issue, name) }];
    default:
      return [{ path, onKey, message: `${name} does not have the form expected here` }];
  }
}

function depthOf(issues: readonly z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map((issue) => issue.path.length));
}

function refusalOf(refusals: readonly Refusal[], path: readonly PropertyKey[]): Refusal | undefined {
  return refusals.find((refusal) => isWithin(path, refusal.path.split(".")));
}

function isWithin(path: readonly PropertyKey[], steps: readonly string[]): boolean {
  return (
    steps.length <= path.length && steps.every((step, index) => step === "*" || step === String(path[index]))
  );
}

/** Only of the very place: what is within has problems of its own. */
function hinted(explained: ExplainedIssue, root: Json, hints: readonly Hint[]): ExplainedIssue {
  const here = hints.filter(({ path }) => {
    const steps = path === "" ? [] : path.split(".");
    return steps.length === explained.path.length && isWithin(explained.path, steps);
  });
  const actual = valueAt(root, explained.path);
  const exact = here.find(({ value }) => value !== undefined && value === actual);
  if (exact !== undefined) return { ...explained, remedy: exact.remedy };
  const hint = here.find(({ value }) => value === undefined);
  return hint === undefined ? explained : { remedy: hint.remedy, ...explained };
}

/** Whether a key is missing only because `other` stands there for it. */
function isMisspelt({ isMissing, path }: ExplainedIssue, other: ExplainedIssue): boolean {
  if (isMissing !== true || other.meant === undefined) return false;
  return pointerOf([...other.path.slice(0, -1), other.meant]) === pointerOf(path);
}

function pointerOf(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}

/** Turns zod's issues into sentences for people, each with the path it is about. */
export function explainIssues(
  issues: readonly z.core.$ZodIssue[],
  schema: z.core.$ZodType,
  root: Json,
  refusals: readonly Refusal[],
  hints: readonly Hint[] = [],
): ExplainedIssue[] {
  const all = issues.flatMap((issue) => explain(issue, schema, root));
  return all
    .filter((explained) => !all.some((other) => isMisspelt(explained, other)))
    .map((explained) => {
      const refusal = refusalOf(refusals, explained.path);
      if (refusal === undefined) return hinted(explained, root, hints);
      const path = explained.path.slice(0, refusal.path.split(".").length);
      const { message, remedy } = refusal;
      return { path, onKey: true, message, ...(remedy === undefined ? {} : { remedy }) };
    });
}
