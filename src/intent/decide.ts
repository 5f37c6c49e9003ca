import type { Environment, ToolCall } from "../contract/call.ts";
import type { Decision, Forbid } from "../contract/decision.ts";
import { GateError, type GateErrorCode } from "../contract/errors.ts";
import { deepFreeze } from "../contract/json.ts";
import { TIER_MINIMUMS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { effectivePolicies } from "./builtin-policies.ts";
import { loadCedar } from "./cedar.ts";
import { Evaluator, type Prepared, type Verdict } from "./evaluator.ts";
import { grantFor } from "./grant.ts";
import { loadPolicies } from "./policies.ts";
import type { Policy, PolicyFile, PolicySet } from "./policy.ts";
import { type CallFacts, NO_FACTS } from "./request.ts";

/** How deep calls may nest unless configured: a tool that calls a tool that calls a tool. */
export const DEPTH_MAX_DEFAULT = 2;

export interface JudgeOptions {
  readonly tools: readonly Tool[];
  /** Empty: the built-in ones. */
  readonly policies: readonly PolicyFile[];
  /** Where this gate acts. A call that says otherwise is forbidden. */
  readonly environment: Environment;
  readonly depthMax?: number;
}

/** Stage 1: is this action allowed? Pure: the same call and facts give the same decision. */
export interface Judge {
  readonly policies: PolicySet;
  readonly evaluator: Evaluator;
  /** @throws GateError `ERR_TOOL_UNKNOWN` when `tool` is not the catalogue's or not the call's. */
  decide(call: ToolCall, tool: Tool, facts?: CallFacts): Decision;
  /** The part of it that no policy can change: environment, depth, tier. */
  refusal(call: ToolCall, tool: Tool): Forbid | undefined;
}

/**
 * Loads Cedar, parses and validates the policies.
 * @throws GateError `ERR_POLICY_SYNTAX`, `ERR_POLICY_INVALID`, `ERR_TOOL_SCHEMA`.
 */
export async function createJudge(options: JudgeOptions): Promise<Judge> {
  const { tools, environment, depthMax = DEPTH_MAX_DEFAULT } = options;
  const cedar = await loadCedar();
  const files = effectivePolicies(tools, options.policies);
  const policies = loadPolicies(cedar, tools, files);
  const evaluator = new Evaluator(cedar, tools, policies);
  const prepare = (call: ToolCall, tool: Tool): Prepared => {
    if (call.tool !== tool.name || call.toolDigest !== tool.digest) {
      throw new GateError("ERR_TOOL_UNKNOWN", `the call is for \`${call.tool}\`, judged as \`${tool.name}\``);
    }
    return evaluator.prepare(tool, call.caller.kind);
  };
  return {
    policies,
    evaluator,
    decide(call, tool, facts = NO_FACTS) {
      const prepared = prepare(call, tool);
      const refusal = beforePolicy(call, prepared, environment, depthMax);
      return deepFreeze(refusal ?? byPolicy(evaluator, prepared, call, facts));
    },
    refusal: (call, tool) => beforePolicy(call, prepare(call, tool), environment, depthMax),
  };
}

/** What no policy can permit. */
function beforePolicy(
  call: ToolCall,
  prepared: Prepared,
  environment: Environment,
  depthMax: number,
): Forbid | undefined {
  const { context } = call;
  if (
    context.environment.name !== environment.name ||
    context.environment.protected !== environment.protected
  ) {
    const reason = `the call is for environment \`${context.environment.name}\`, this gate acts in \`${environment.name}\``;
    return forbid(prepared, "ERR_FORBIDDEN", [reason]);
  }
  // Written so that NaN is refused.
  if (!(Number.isSafeInteger(context.depth) && context.depth >= 0 && context.depth <= depthMax)) {
    const reason = `the call is nested ${context.depth} deep, and ${depthMax} is the most`;
    return forbid(prepared, "ERR_DEPTH", [reason], ["call the tool directly rather than from another tool"]);
  }
  const { tier } = prepared.tool;
  if (TIER_MINIMUMS[tier].protectedEnvironment && !environment.protected) {
    const reason = `tier \`${tier}\` runs only in a protected environment, and \`${environment.name}\` is not one`;
    const remedy = "call it through a gate whose configuration says `environment: { …, protected: true }`";
    return forbid(prepared, "ERR_FORBIDDEN", [reason], [remedy]);
  }
  return undefined;
}

function byPolicy(evaluator: Evaluator, prepared: Prepared, call: ToolCall, facts: CallFacts): Decision {
  const built = evaluator.request(prepared, call, facts);
  if (!built.ok) return forbid(prepared, "ERR_POLICY_EVALUATION", [built.message]);
  const verdict = evaluator.verdict(prepared, built.request);
  if (verdict.errors.length > 0) return forbid(prepared, "ERR_POLICY_EVALUATION", verdict.errors);
  const deciding = prepared.slice.filter((policy) => verdict.policies.includes(policy.id));
  if (!verdict.allowed) return denied(prepared, deciding);
  return allowed(prepared, call, deciding, verdict);
}

function allowed(
  prepared: Prepared,
  { network }: ToolCall,
  permits: readonly Policy[],
  verdict: Verdict,
): Decision {
  // An allow nobody can be named for, or that a forbid is named for, is a fault and never a permit.
  if (permits.length === 0 || permits.length !== verdict.policies.length || permits.some(isForbid)) {
    return forbid(prepared, "ERR_POLICY_EVALUATION", ["Cedar allowed without a policy that permits"]);
  }
  const grant = grantFor(prepared.tool, network, permits);
  return {
    effect: grant.approvals > 0 ? "ask" : "permit",
    policies: permits.map((policy) => policy.id),
    reasons: permits.map(reasonOf),
    policyDigest: prepared.policyDigest,
    grant,
  };
}

function isForbid(policy: Policy): boolean {
  return policy.effect === "forbid";
}

function denied(prepared: Prepared, forbids: readonly Policy[]): Forbid {
  if (forbids.length > 0) {
    const ids = forbids.map((policy) => policy.id);
    const remedies = ids.map((id) => `change the call so that \`${id}\` does not match`);
    return { ...forbid(prepared, "ERR_FORBIDDEN", forbids.map(reasonOf), remedies), policies: ids };
  }
  const { name } = prepared.tool;
  const permits = prepared.slice.filter((policy) => policy.effect === "permit").map((policy) => policy.id);
  const remedy =
    permits.length === 0
      ? `add a policy that permits \`Action::"${name}"\``
      : `meet the conditions of one of: ${permits.slice(0, 5).join(", ")}`;
  return forbid(prepared, "ERR_FORBIDDEN", [`no policy permits \`${name}\` for this caller here`], [remedy]);
}

function reasonOf(policy: Policy): string {
  return policy.annotations.reason ?? `policy \`${policy.id}\` ${policy.effect}s it`;
}

function forbid(
  prepared: Prepared,
  code: GateErrorCode,
  reasons: readonly string[],
  remedies: readonly string[] = [],
): Forbid {
  return { effect: "forbid", policies: [], reasons, policyDigest: prepared.policyDigest, code, remedies };
}
