import type { CallId, Digest, ToolName } from "./ids.ts";

declare const passed: unique symbol;

/**
 * Proof that a call passed stages 1 and 2. Only `capability/` makes one (the architecture test holds that),
 * and a sandbox lets a tool in for nothing else, so a run without one cannot be written.
 */
export interface Capability {
  readonly [passed]: true;
  /** Id of the session or token it was drawn from. */
  readonly id: string;
  readonly call: CallId;
  readonly tool: ToolName;
  /** What exactly may run; see `requestDigest`. */
  readonly requestDigest: Digest;
}

/** One use to be taken off a session or token in the same transaction as the intent. */
export interface Spend {
  readonly id: string;
  /** How often it may be used at all. */
  readonly usesMax: number;
  /** Milliseconds since the epoch after which it is worth nothing. */
  readonly expiresMs: number;
}
