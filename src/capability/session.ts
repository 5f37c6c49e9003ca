import type { Caller, ToolCall } from "../contract/call.ts";
import type { Capability, Spend } from "../contract/capability.ts";
import type { Permit } from "../contract/decision.ts";
import type { GateErrorCode } from "../contract/errors.ts";
import type { Digest, ToolName } from "../contract/ids.ts";
import { draw } from "./capability.ts";

/** What one session of the process's owner may do: made at start, gone with the process. */
export interface SessionTerms {
  /** A random name, so that uses are counted per session. */
  readonly id: string;
  readonly caller: Caller;
  /** `all`: every catalogued tool; what policy permits still decides. */
  readonly tools: ReadonlySet<ToolName> | "all";
  readonly usesMax: number;
  /** Milliseconds since the epoch. */
  readonly expiresMs: number;
  /** How deep calls that tools make may nest. */
  readonly depthMax: number;
}

export type Admission =
  | { readonly admitted: true; readonly capability: Capability; readonly spend: Spend }
  | {
      readonly admitted: false;
      readonly code: GateErrorCode;
      readonly message: string;
      readonly remedy: string;
    };

/**
 * Stage 2: whether this session covers this call. The use itself is taken off by the store, in the transaction that
 * records the intent, so that two processes cannot both spend the last one.
 */
export function admit(
  terms: SessionTerms,
  call: ToolCall,
  decision: Permit,
  requestDigest: Digest,
  nowMs: number = Date.now(),
): Admission {
  if (call.caller !== terms.caller) {
    return refuse(
      "ERR_CAPABILITY",
      "the call names another caller than the session",
      "call as the session's owner",
    );
  }
  if (terms.tools !== "all" && !terms.tools.has(call.tool)) {
    return refuse(
      "ERR_CAPABILITY",
      `this session may not call \`${call.tool}\``,
      "start a session that lists this tool",
    );
  }
  if (call.context.depth > terms.depthMax) {
    return refuse(
      "ERR_DEPTH",
      `calls may nest ${terms.depthMax} deep, this one is at ${call.context.depth}`,
      "call it from outside",
    );
  }
  if (nowMs >= terms.expiresMs) {
    return refuse("ERR_CAPABILITY", "this session has expired", "start a new one");
  }
  const spend: Spend = { id: terms.id, usesMax: terms.usesMax, expiresMs: terms.expiresMs };
  return { admitted: true, capability: draw(terms.id, call, decision, requestDigest), spend };
}

function refuse(code: GateErrorCode, message: string, remedy: string): Admission {
  return { admitted: false, code, message, remedy };
}
