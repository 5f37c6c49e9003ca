import canonicalize from "canonicalize";
import type { Decision, Permit } from "./contract/decision.ts";
import { GateError } from "./contract/errors.ts";
import type { Controls, Execution } from "./contract/execution.ts";
import { type Digest, digestOf } from "./contract/ids.ts";
import type { Profile } from "./contract/profile.ts";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { Tool } from "./contract/tool.ts";
import type { PreparedCall } from "./gate.ts";

/**
 * The permit in a decision.
 * @throws GateError `ERR_FORBIDDEN` and its kin for a forbid, `ERR_OBLIGATION_UNMET` for what this gateway cannot give.
 */
export function permitted(decision: Decision): Permit {
  switch (decision.effect) {
    case "permit":
      if (decision.grant.confirmation)
        throw unmet("the caller's confirmation", "it has no way to ask for one");
      return decision;
    case "ask": {
      const { approvals } = decision.grant;
      throw unmet(`${approvals} ${approvals === 1 ? "approval" : "approvals"}`, "it has no approvers");
    }
    case "forbid":
      throw new GateError(decision.code, decision.reasons.join("; "), {
        ...(decision.remedies[0] === undefined ? {} : { remedy: decision.remedies.join("; ") }),
      });
    default:
      return decision satisfies never;
  }
}

function unmet(need: string, lack: string): GateError {
  return new GateError(
    "ERR_OBLIGATION_UNMET",
    `permitted only with ${need}, and this gateway cannot take any: ${lack}`,
    {
      remedy:
        "this version runs calls of the low and medium tiers; lower the tool's tier only if its effects are lower",
    },
  );
}

/** SHA-256 over the RFC 8785 form. */
export function profileDigest(profile: Profile): Digest {
  return digestOf(canonical(profile));
}

/** What exactly may run: what was judged is what runs, and a capability holds for this digest only. */
export function requestDigest(
  { tool, call, command }: PreparedCall,
  profile: Digest,
  permit: Permit,
): Digest {
  return digestOf(
    canonical({
      tool: tool.digest,
      profile,
      input: call.input,
      argv: command.argv,
      caller: call.caller,
      environment: call.context.environment,
      credentials: permit.grant.credentials,
      policies: permit.policyDigest,
    }),
  );
}

function canonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new GateError("ERR_INTERNAL", "a request has no canonical form");
  return text;
}

/** @throws GateError `ERR_CONTROL_UNAVAILABLE` naming every required control that the kernel does not show. */
export function requireControls(tool: Tool, controls: Controls, onMissing: () => void): void {
  const missing = TIER_MINIMUMS[tool.tier].controls.filter((name) => controls[name].state !== "enforced");
  if (missing.length === 0) return;
  onMissing();
  const seen = missing.map((name) => `${name} (${controls[name].evidence})`).join(", ");
  throw new GateError("ERR_CONTROL_UNAVAILABLE", `required and not enforced on this host: ${seen}`, {
    remedy: "run `callgate doctor`",
  });
}

/** After the intent is recorded nothing may end a call without an outcome, a fault in the sandbox included. */
export async function settled(execution: Promise<Execution>): Promise<Execution> {
  try {
    return await execution;
  } catch (error) {
    const internal = error instanceof Error ? error.message : String(error);
    return {
      outcome: "unstarted",
      code: "ERR_INTERNAL",
      message: `the sandbox failed, and the tool may have run: ${internal}`,
    };
  }
}
