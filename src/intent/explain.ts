import type { Caller, ToolCall } from "../contract/call.ts";
import type { Decision } from "../contract/decision.ts";
import type { Place } from "../contract/errors.ts";
import type { JsonObject } from "../contract/json.ts";
import { TIER_MINIMUMS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { PRINCIPALS } from "./claims.ts";
import { conditionsOf, type Part, partsOf, type SeenField, seenFields } from "./conditions.ts";
import type { Judge } from "./decide.ts";
import type { Evaluator, Prepared } from "./evaluator.ts";
import type { Policy } from "./policy.ts";
import type { Opaque } from "./projection.ts";
import { type CallFacts, NO_FACTS, type Request } from "./request.ts";

/** Nearest permits told; more would not be read. */
const NEAREST_MAX = 3;
/** Permits looked at one by one. Each costs some Cedar evaluations. */
const PROBED_MAX = 64;

/** A policy, shown. */
export interface ShownPolicy {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  readonly text: string;
  readonly place: Place;
}

/** A part of a policy that this call does not meet. */
export interface FailedPart {
  readonly part: Part["part"];
  /** In Cedar's words. */
  readonly text: string;
  /** The fields it looks at, with what they are. */
  readonly fields: readonly SeenField[];
}

/** A permit that does not match, and what would make it. */
export interface NearPermit extends ShownPolicy {
  readonly failed: readonly FailedPart[];
  /** Single changes that make it match, each a clause such as `the environment were protected`. */
  readonly matchesIf: readonly string[];
}

/** Why a call is decided as it is. */
export interface Explanation {
  readonly decision: Decision;
  /** What policy sees of the input. */
  readonly seen: { readonly input: JsonObject; readonly opaque: readonly Opaque[] };
  readonly deciding: readonly (ShownPolicy & { readonly fields: readonly SeenField[] })[];
  /** What people or the host have to provide still, each a sentence. */
  readonly obligations: readonly string[];
  /** Nearest first; empty when a permit matched. */
  readonly nearest: readonly NearPermit[];
  /** What would permit it, nearest first, each a sentence. */
  readonly remedies: readonly string[];
}

/** Explains a decision, for `callgate check` and `why`. Costs milliseconds: not for every call. */
export function explain(judge: Judge, call: ToolCall, tool: Tool, facts: CallFacts = NO_FACTS): Explanation {
  const decision = judge.decide(call, tool, facts);
  const prepared = judge.evaluator.prepare(tool, call.caller.kind);
  const built = judge.evaluator.wholeRequest(prepared, call, facts);
  const remedies = decision.effect === "forbid" ? decision.remedies : [];
  const base = { decision, obligations: obligationsOf(decision, tool), deciding: [], nearest: [], remedies };
  if (!built.ok) return { ...base, seen: { input: {}, opaque: [] } };
  const { request, projection: seen } = built;
  const deciding = prepared.slice
    .filter((policy) => decision.policies.includes(policy.id))
    .map((policy) => ({ ...show(policy), fields: seenFields(conditionsOf(policy.json), request) }));
  const verdict = judge.evaluator.verdict(prepared, request);
  const unpermitted = !verdict.allowed && verdict.policies.length === 0 && verdict.errors.length === 0;
  if (!unpermitted) return { ...base, seen, deciding };
  const nearest = nearestPermits(judge, prepared, request);
  const first = judge.refusal(call, tool)?.remedies ?? [];
  const near = nearest.map(remedyOf);
  return { ...base, seen, deciding, nearest, remedies: near.length > 0 ? [...first, ...near] : remedies };
}

function show({ id, effect, text, place }: Policy): ShownPolicy {
  return { id, effect, text, place };
}

function obligationsOf(decision: Decision, tool: Tool): string[] {
  const minimum = TIER_MINIMUMS[tool.tier];
  const least = decision.effect === "forbid" ? minimum : decision.grant;
  const people = least.approvals === 1 ? "one person" : `${least.approvals} different people`;
  return [
    ...(minimum.protectedEnvironment ? ["the environment must be protected"] : []),
    ...(least.approvals > 0 ? [`${people} must approve it`] : []),
    ...(least.confirmation ? ["the caller must confirm it"] : []),
    `isolation must be \`${least.isolation}\` or stronger`,
  ];
}

function remedyOf(permit: NearPermit): string {
  const [change] = permit.matchesIf;
  const held = permit.failed.map((one) => one.text).join(" and ");
  return `policy \`${permit.id}\` would permit it if ${change ?? `this held: ${held}`}`;
}

/** Every permit that could speak of this tool, judged alone and taken apart. */
function nearestPermits({ evaluator, policies }: Judge, prepared: Prepared, request: Request): NearPermit[] {
  // Of every kind of caller: another kind may be all that is missing.
  const slice = policies.sliceFor(prepared.tool);
  const permits = slice.filter((policy) => policy.effect === "permit").slice(0, PROBED_MAX);
  const near = permits.map((policy) => takeApart(evaluator, prepared, request, policy));
  return near.toSorted((a, b) => distance(a) - distance(b)).slice(0, NEAREST_MAX);
}

function distance(permit: NearPermit): number {
  return permit.failed.length - (permit.matchesIf.length > 0 ? 0.5 : 0);
}

function takeApart(evaluator: Evaluator, prepared: Prepared, request: Request, policy: Policy): NearPermit {
  const failed: FailedPart[] = [];
  for (const part of partsOf(policy.json)) {
    const verdict = evaluator.verdictOf(prepared, request, part.probe);
    if (verdict.allowed) continue;
    // `x has a && x.a == 1`: the second half cannot be asked alone, and the first has failed already.
    if (verdict.errors.length > 0 && failed.length > 0) continue;
    const fields = seenFields(part.expressions, request);
    failed.push({ part: part.part, text: textOf(evaluator, part), fields });
  }
  const matchesIf = changes(request)
    .filter(([, changed]) => evaluator.verdictOf(prepared, changed, policy.json).allowed)
    .map(([clause]) => clause);
  return { ...show(policy), failed, matchesIf };
}

/** The request with one thing about it different. */
function changes(request: Request): [clause: string, changed: Request][] {
  const [principal, environment] = request.entities;
  if (principal === undefined || environment === undefined) return [];
  const isProtected = environment.attrs["protected"] === true;
  const flipped = { ...environment, attrs: { ...environment.attrs, protected: !isProtected } };
  const clause = `the environment were ${isProtected ? "not " : ""}protected`;
  const changed: [string, Request][] = [[clause, { ...request, entities: [principal, flipped] }]];
  for (const kind of PRINCIPALS) {
    if (kind === request.principal.type) continue;
    changed.push([`the caller were a \`${kind}\``, asKind(request, kind)]);
  }
  return changed;
}

function asKind(request: Request, kind: Caller["kind"]): Request {
  const [principal, environment] = request.entities;
  if (principal === undefined || environment === undefined) return request;
  const uid = { type: kind, id: request.principal.id };
  const { id = "", proof = "" } = principal.attrs;
  const entity = { ...principal, uid, attrs: { id, proof } };
  return { ...request, principal: uid, entities: [entity, environment] };
}

/** Cedar prints whole policies; the part is what stands after the scope, or in it. */
function textOf(evaluator: Evaluator, part: Part): string {
  const text = evaluator.textOf(part.probe).replace(/\s+/g, " ").trim();
  if (part.part === "principal") return /\(\s*(principal[^,]*),/.exec(text)?.[1]?.trim() ?? text;
  if (part.part === "resource") return /,\s*(resource[^,]*?)\s*\)/.exec(text)?.[1] ?? text;
  const body = /\b(?:when|unless) \{ ?(.*?) ?\};?$/.exec(text)?.[1] ?? text;
  return part.part === "unless" ? `!(${body})` : body;
}
