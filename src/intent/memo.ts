import canonicalize from "canonicalize";
import type { Environment, ToolCall } from "../contract/call.ts";
import { type Digest, digestOf } from "../contract/ids.ts";
import { TIER_MINIMUMS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { effectivePolicies } from "./builtin-policies.ts";
import { inputType } from "./input-type.ts";
import type { PolicyFile } from "./policy.ts";
import { contextSight, sees } from "./policy-text.ts";
import { projectInput } from "./projection.ts";
import { type CallFacts, NO_FACTS } from "./request.ts";

/** Raised with every change of Cedar's version or of how this stage decides. */
const DECISION_VERSION = 2;

/** Everything a decision depends on. */
export interface DecisionParts {
  readonly tools: readonly Tool[];
  readonly policies: readonly PolicyFile[];
  readonly environment: Environment;
  readonly depthMax: number;
  readonly tool: Tool;
  readonly call: ToolCall;
  readonly facts?: CallFacts;
}

/**
 * A key under which a decision may be remembered: equal keys, equal decisions. It costs neither Cedar nor
 * ajv, so a one-shot command can look before it loads them.
 *
 * Of the input it holds what some policy can see, of any tool's, since slicing needs Cedar. All tools are in
 * it, because a policy that names a missing one is a fault; the call's id and time are not, because no
 * policy sees them.
 *
 * INVARIANT: whatever `buildRequest` sends and `createJudge` decides by is in here.
 */
export function decisionKey(parts: DecisionParts): Digest {
  const { tools, environment, depthMax, tool, call, facts = NO_FACTS } = parts;
  const policies = effectivePolicies(tools, parts.policies);
  const sight = contextSight(policies.map((policy) => policy.text));
  const looks = ["input", "opaque", "digests"].filter((attribute) => sees(sight, attribute));
  const projection = looks.length > 0 ? projectInput(inputType(tool), call.input) : undefined;
  const seen = {
    ...(looks.includes("input") ? { input: projection?.input } : {}),
    ...(looks.includes("opaque") ? { opaque: projection?.opaque.map(({ pointer }) => pointer) } : {}),
    ...(looks.includes("digests") ? { digests: projection?.opaque } : {}),
  };
  const everything = {
    version: DECISION_VERSION,
    minimums: TIER_MINIMUMS,
    // The order of files is the order of ids in a decision.
    policies: policies.map((policy) => digestOf(policy.text)),
    tools: tools.map((one) => one.digest).sort(),
    environment,
    depthMax,
    tool: tool.digest,
    called: { tool: call.tool, digest: call.toolDigest },
    caller: call.caller,
    context: call.context,
    network: call.network,
    facts,
    seen,
  };
  return digestOf(canonicalize(everything) ?? "");
}
