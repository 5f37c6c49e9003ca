import type { Grant } from "../contract/decision.ts";
import { type IsolationClass, strongerIsolation, TIER_MINIMUMS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import type { Policy } from "./policy.ts";

/**
 * The terms of a permit: the strictest of the tier's minimum, the tool's manifest and every policy that
 * permits. INVARIANT: another policy can only add to them, so nobody loosens a term by permitting as well.
 */
export function grantFor(tool: Tool, permits: readonly Policy[]): Grant {
  const minimum = TIER_MINIMUMS[tool.tier];
  const asked = permits.map((policy) => policy.annotations);
  const isolations = [tool.sandbox.isolation, ...asked.map((one) => one.isolation)];
  return {
    isolation: isolations.reduce<IsolationClass>(
      (a, b) => (b === undefined ? a : strongerIsolation(a, b)),
      minimum.isolation,
    ),
    approvals: Math.max(minimum.approvals, ...asked.map((one) => one.approvals)),
    confirmation: minimum.confirmation || asked.some((one) => one.confirmation),
    // Tools cannot name credentials yet; none is the least.
    credentials: [],
  };
}
