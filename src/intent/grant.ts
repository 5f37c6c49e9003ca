import type { Grant } from "../contract/decision.ts";
import type { Network } from "../contract/network.ts";
import { type IsolationClass, strongerIsolation, TIER_MINIMUMS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { credentialsIn } from "./network-facts.ts";
import type { Policy } from "./policy.ts";

/**
 * The terms of a permit: the strictest of the tier's minimum, the tool's manifest and every policy that
 * permits. INVARIANT: another policy can only add to them, so nobody loosens a term by permitting as well.
 */
export function grantFor(tool: Tool, network: Network, permits: readonly Policy[]): Grant {
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
    credentials: credentialsIn(network),
  };
}
