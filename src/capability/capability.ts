import type { ToolCall } from "../contract/call.ts";
import type { Capability } from "../contract/capability.ts";
import type { Permit } from "../contract/decision.ts";
import type { Digest } from "../contract/ids.ts";

/**
 * INVARIANT: the only place that makes a `Capability`. It takes a permit, so a refused call cannot have one, and the
 * digest of what was judged, so that nothing else can run under it.
 */
export function draw(id: string, call: ToolCall, _decision: Permit, requestDigest: Digest): Capability {
  return Object.freeze({ id, call: call.id, tool: call.tool, requestDigest }) as Capability;
}
