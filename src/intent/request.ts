import type { CedarValueJson, EntityJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";
import type { CallContext, Caller, Environment, ToolCall } from "../contract/call.ts";
import type { Digest } from "../contract/ids.ts";
import { CLAIMS, claimFits } from "./claims.ts";
import type { CedarRecord } from "./input-type.ts";
import { networkFacts } from "./network-facts.ts";
import { type Sight, sees } from "./policy-text.ts";
import { type Projection, projectInput } from "./projection.ts";

/** What the gate found out about an artifact a call uses. Never from the call itself. */
export interface ArtifactFact {
  readonly digest: Digest;
  /** A signature over it verified against a configured key or identity. */
  readonly signed: boolean;
  /** A provenance statement for it verified. */
  readonly proven: boolean;
  /** The pipeline run that made it; absent when unknown. */
  readonly pipeline?: string;
}

/** What else policy judges by, beside the call. */
export interface CallFacts {
  readonly artifacts: readonly ArtifactFact[];
}

export const NO_FACTS: CallFacts = { artifacts: [] };

/** A call as Cedar is asked about it. */
export interface Request {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Record<string, CedarValueJson>;
  readonly entities: EntityJson[];
}

export type RequestResult =
  | { readonly ok: true; readonly request: Request; readonly projection: Projection }
  | { readonly ok: false; readonly message: string };

/**
 * Puts a call into Cedar's terms. Attributes nobody can see are sent empty. Not ok when a claim is not what
 * policy was told it is: leaving it out would let a `forbid` that tests for it pass.
 */
export function buildRequest(
  call: ToolCall,
  type: CedarRecord,
  facts: CallFacts,
  sight: Sight,
): RequestResult {
  const { caller, context } = call;
  const misfit = findMisfit(caller, context);
  if (misfit !== undefined) return { ok: false, message: misfit };
  const projection = projectInput(type, call.input);
  const principal = { type: caller.kind, id: caller.id };
  const resource = { type: "Environment", id: context.environment.name };
  const seen = {
    opaque: sees(sight, "opaque") ? projection.opaque : [],
    digests: sees(sight, "digests") ? projection.opaque : [],
  };
  const request: Request = {
    principal,
    action: { type: "Action", id: call.tool },
    resource,
    context: {
      input: projection.input as Record<string, CedarValueJson>,
      call: callRecord(context),
      artifacts: artifactsRecord(facts),
      network: networkFacts(call.network),
      opaque: seen.opaque.map(({ pointer }) => pointer),
      digests: seen.digests.map(({ pointer, digest }) => ({ pointer, digest })),
    },
    entities: [principalEntity(principal, caller), environmentEntity(resource, context.environment)],
  };
  return { ok: true, request, projection };
}

function findMisfit(caller: Caller, context: CallContext): string | undefined {
  const types = CLAIMS[caller.kind];
  for (const [name, value] of Object.entries(caller.claims)) {
    const type = Object.hasOwn(types, name) ? types[name] : undefined;
    if (type !== undefined && !claimFits(value, type)) {
      return `the caller's claim \`${name}\` is not a ${type}, as policy was told`;
    }
  }
  const { environment, repository, ref, event, parent } = context;
  const texts = [
    caller.id,
    ...Object.entries(caller.claims).flat(),
    environment.name,
    repository,
    ref,
    event,
    parent,
  ];
  // Cedar would read U+FFFD instead, and two different callers as one.
  const broken = texts.find((text) => typeof text === "string" && !text.isWellFormed());
  return broken === undefined ? undefined : "a claim of the caller or the call's context is not text";
}

function principalEntity(uid: TypeAndId, caller: Caller): EntityJson {
  const types = CLAIMS[caller.kind];
  const attrs: Record<string, CedarValueJson> = { id: caller.id, proof: caller.proof };
  const tags: Record<string, CedarValueJson> = {};
  for (const [name, value] of Object.entries(caller.claims)) {
    if (Object.hasOwn(types, name)) attrs[name] = value;
    // Defined, not assigned: a token may claim `__proto__`.
    Object.defineProperty(tags, name, { value: String(value), enumerable: true });
  }
  return { uid, attrs, parents: [], tags };
}

function environmentEntity(uid: TypeAndId, environment: Environment): EntityJson {
  return { uid, attrs: { name: environment.name, protected: environment.protected }, parents: [] };
}

function callRecord(context: CallContext): Record<string, CedarValueJson> {
  const { depth, event, ref, repository, parent } = context;
  const known = Object.entries({ event, ref, repository, parent }).filter(([, value]) => value !== undefined);
  return { depth, ...(Object.fromEntries(known) as Record<string, string>) };
}

/** Sums over all artifacts, since Cedar cannot say "for each". Of none at all, nothing is true. */
function artifactsRecord({ artifacts }: CallFacts): Record<string, CedarValueJson> {
  const some = artifacts.length > 0;
  // An artifact of unknown origin counts as a pipeline of its own that equals no run.
  const pipelines = new Set(artifacts.map((artifact) => artifact.pipeline ?? ""));
  return {
    count: artifacts.length,
    signed: some && artifacts.every((artifact) => artifact.signed),
    proven: some && artifacts.every((artifact) => artifact.proven),
    pipelines: [...pipelines].sort(),
    digests: artifacts.map((artifact) => artifact.digest),
  };
}
