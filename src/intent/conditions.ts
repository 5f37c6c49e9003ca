import type { Clause, Expr, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { isJsonObject, type Json } from "../contract/json.ts";
import type { Request } from "./request.ts";

/** A piece of a policy that can be judged by itself. */
export interface Part {
  readonly part: "principal" | "resource" | "when" | "unless";
  /** A permit that holds exactly when the part does. */
  readonly probe: PolicyJson;
  readonly expressions: readonly Expr[];
}

/** A field a policy looks at, such as `context.input.path`, and what it is; `null`: it is not there. */
export interface SeenField {
  readonly field: string;
  readonly value: Json;
}

const ANYTHING: PolicyJson = {
  effect: "permit",
  principal: { op: "All" },
  action: { op: "All" },
  resource: { op: "All" },
  conditions: [],
};

/** Scope and conditions, the latter split at `&&`, or at `||` in an `unless`. The action always matches. */
export function partsOf(policy: PolicyJson): Part[] {
  return [
    { part: "principal", probe: { ...ANYTHING, principal: policy.principal }, expressions: [] },
    { part: "resource", probe: { ...ANYTHING, resource: policy.resource }, expressions: [] },
    ...policy.conditions.flatMap(({ kind, body }) =>
      split(body, kind === "when" ? "&&" : "||").map((one): Part => {
        const clause: Clause = { kind, body: one };
        return { part: kind, probe: { ...ANYTHING, conditions: [clause] }, expressions: [one] };
      }),
    ),
  ];
}

/** The bodies of all conditions. */
export function conditionsOf(policy: PolicyJson): Expr[] {
  return policy.conditions.map((clause) => clause.body);
}

function split(expression: Expr, operator: "&&" | "||"): Expr[] {
  const both = (expression as Record<string, { left: Expr; right: Expr } | undefined>)[operator];
  return both === undefined ? [expression] : [...split(both.left, operator), ...split(both.right, operator)];
}

/** Every field the expressions look at, once, with its value in this request. */
export function seenFields(expressions: readonly Expr[], request: Request): SeenField[] {
  const paths = new Map<string, string[]>();
  for (const expression of expressions) collect(expression as Json, paths);
  return [...paths]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([field, path]) => ({ field, value: read(path, request) }));
}

function collect(node: Json | undefined, paths: Map<string, string[]>): void {
  if (Array.isArray(node)) for (const item of node) collect(item, paths);
  if (!isJsonObject(node)) return;
  const path = pathOf(node);
  if (path !== undefined && path.length > 1) paths.set(path.join("."), path);
  else for (const child of Object.values(node)) collect(child, paths);
}

/** `context.input.path` out of `{".": {left: {".": …}, attr: "path"}}`; also out of `has`. */
function pathOf(node: Json | undefined): string[] | undefined {
  if (!isJsonObject(node)) return undefined;
  if (typeof node["Var"] === "string") return [node["Var"]];
  const access = node["."] ?? node["has"];
  if (!isJsonObject(access)) return undefined;
  const left = pathOf(access["left"]);
  const attribute = access["attr"];
  const names = Array.isArray(attribute) ? attribute.map(String) : [String(attribute)];
  return left && [...left, ...names];
}

function read([variable = "", ...names]: string[], request: Request): Json {
  const [principal, environment] = request.entities;
  const roots: Record<string, unknown> = {
    principal: principal?.attrs,
    resource: environment?.attrs,
    context: request.context,
  };
  let at = roots[variable] as Json | undefined;
  for (const name of names) at = isJsonObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at ?? null;
}
