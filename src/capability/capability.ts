import type { ToolCall } from "../contract/call.ts";
import type { Capability } from "../contract/capability.ts";
import type { Permit } from "../contract/decision.ts";
import { type Digest, newCallId, parseToolName } from "../contract/ids.ts";

/**
 * INVARIANT: the only place that makes a `Capability`. It takes a permit, so a refused call cannot have one, and the
 * digest of what was judged, so that nothing else can run under it.
 */
export function draw(id: string, call: ToolCall, _decision: Permit, requestDigest: Digest): Capability {
  return Object.freeze({ id, call: call.id, tool: call.tool, requestDigest }) as Capability;
}

/**
 * For the selftest, which lets nothing in but programs of this package: there is no caller and no decision, and the
 * digest is over those programs. INVARIANT: nobody else calls it (the architecture test holds that).
 */
export function drawForSelftest(programs: Digest): Capability {
  return Object.freeze({
    id: "selftest",
    call: newCallId(),
    tool: parseToolName("callgate.selftest"),
    requestDigest: programs,
  }) as Capability;
}
