import type { DetailedError, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Caller } from "../contract/call.ts";
import { formatPlace, GateError } from "../contract/errors.ts";
import { didYouMean } from "../contract/nearest.ts";
import type { Tool } from "../contract/tool.ts";
import { readAnnotations } from "./annotations.ts";
import type { Cedar } from "./cedar.ts";
import { groupNames, groupsOf } from "./cedar-schema.ts";
import {
  type Policy,
  type PolicyFile,
  type PolicySet,
  type PolicySource,
  placeIn,
  policyError,
} from "./policy.ts";
import { splitPolicies } from "./policy-text.ts";
import { validatePolicies } from "./policy-validation.ts";

/**
 * Parses, checks and validates policies against the schema of a catalogue.
 * @throws GateError `ERR_POLICY_SYNTAX` or `ERR_POLICY_INVALID`, with the place; with what else is wrong in `also`.
 */
export function loadPolicies(cedar: Cedar, tools: readonly Tool[], files: readonly PolicyFile[]): PolicySet {
  const { all, sources, faults } = readPolicies(cedar, tools, files);
  const { errors, warnings } = validatePolicies(cedar, tools, all, sources);
  const order = new Map(files.map(({ file }, index) => [file, index]));
  const [first, ...also] = [...faults, ...errors].toSorted((a, b) => placed(a, order) - placed(b, order));
  if (first !== undefined) throw withOthers(first, also);
  const slices = new Map<string, readonly Policy[]>();
  for (const tool of tools) {
    const names = new Set<string>([tool.name, ...groupsOf(tool)]);
    slices.set(
      tool.name,
      [...all.values()].filter((policy) => canMatch(policy, names)),
    );
  }
  const sliceFor: PolicySet["sliceFor"] = (tool, kind) => {
    const slice = slices.get(tool.name) ?? [];
    return kind === undefined ? slice : slice.filter((policy) => canMatchKind(policy, kind));
  };
  return { all, warnings, sliceFor };
}

interface ReadPolicies {
  readonly all: ReadonlyMap<string, Policy>;
  readonly sources: ReadonlyMap<string, PolicySource>;
  readonly faults: readonly GateError[];
}

/** One policy's fault keeps no other from being read. */
function readPolicies(cedar: Cedar, tools: readonly Tool[], files: readonly PolicyFile[]): ReadPolicies {
  const all = new Map<string, Policy>();
  const sources = new Map<string, PolicySource>();
  const faults: GateError[] = [];
  const actions = new Set<string>([...tools.map((tool) => tool.name), ...groupNames(tools)]);
  for (const source of files.flatMap(piecesOf)) {
    try {
      const policy = parsePolicy(cedar, source);
      checkActions(policy, actions);
      checkId(policy, all.get(policy.id));
      all.set(policy.id, policy);
      sources.set(policy.id, source);
    } catch (error) {
      if (!(error instanceof GateError)) throw error;
      faults.push(error);
    }
  }
  return { all, sources, faults };
}

function checkId({ id, place }: Policy, other: Policy | undefined): void {
  if (other === undefined) return;
  const remedy = `the other one is at ${formatPlace(other.place)}`;
  throw policyError("ERR_POLICY_INVALID", `two policies have the id \`${id}\``, place, remedy);
}

function placed({ place }: GateError, order: ReadonlyMap<string, number>): number {
  return (order.get(place?.file ?? "") ?? 0) * 1e12 + (place?.line ?? 0) * 1e6 + (place?.column ?? 0);
}

function withOthers(
  { code, message, place, remedy, cause }: GateError,
  also: readonly GateError[],
): GateError {
  const known = { ...(place === undefined ? {} : { place }), ...(remedy === undefined ? {} : { remedy }) };
  return new GateError(code, message, { ...known, cause, also });
}

function piecesOf(file: PolicyFile): PolicySource[] {
  return splitPolicies(file.text).map((piece) => ({ file, piece }));
}

/** One at a time: a set parsed as one text numbers its policies and forgets their `@id`s. */
function parsePolicy(cedar: Cedar, source: PolicySource): Policy {
  const answer = cedar.policyToJson(source.piece.text);
  if (answer.type === "failure") throw syntaxError(source, answer.errors[0]);
  const json = answer.json;
  const place = placeIn(source);
  const { id, annotations } = readAnnotations(json, place);
  return { id, effect: json.effect, text: source.piece.text, place, json, annotations };
}

function syntaxError(source: PolicySource, error: DetailedError | undefined): GateError {
  const location = error?.sourceLocations?.[0];
  const place = placeIn(source, location?.start ?? 0);
  const message = (error?.message ?? "does not parse").replace(/^failed to parse policy from string: /, "");
  const slot = /slot (\?\w+)/.exec(message)?.[1];
  if (slot !== undefined) {
    const remedy = "name the entity instead";
    return policyError("ERR_POLICY_INVALID", `templates are not supported: found \`${slot}\``, place, remedy);
  }
  return policyError("ERR_POLICY_SYNTAX", message, place, error?.help ?? location?.label ?? undefined);
}

/** The actions a policy's scope names; undefined: every action. */
function actionsOf({ action }: PolicyJson): string[] | undefined {
  if (action.op === "All") return undefined;
  const entities = "entities" in action ? action.entities : "entity" in action ? [action.entity] : [];
  return entities.map((entity) => ("__entity" in entity ? entity.__entity : entity).id);
}

/** Cedar would say so too, in words of entities rather than of tools. */
function checkActions(policy: Policy, known: ReadonlySet<string>): void {
  const unknown = actionsOf(policy.json)?.find((name) => !known.has(name));
  if (unknown === undefined) return;
  const what = unknown.includes("/") ? "group of tools" : "tool";
  const message = `policy \`${policy.id}\` names the ${what} \`${unknown}\`, which does not exist`;
  const remedy = didYouMean(unknown, known) ?? "`callgate policy schema` lists every tool and group";
  throw policyError("ERR_POLICY_INVALID", message, policy.place, remedy);
}

function canMatch(policy: Policy, names: ReadonlySet<string>): boolean {
  return actionsOf(policy.json)?.some((name) => names.has(name)) ?? true;
}

/** Only what a scope says outright leaves a policy out; `in` may be anybody. */
function canMatchKind({ json: { principal } }: Policy, kind: Caller["kind"]): boolean {
  if (principal.op === "is") return principal.entity_type === kind;
  if (principal.op !== "==" || !("entity" in principal)) return true;
  const { entity } = principal;
  return ("__entity" in entity ? entity.__entity : entity).type === kind;
}
