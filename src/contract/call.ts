import type { CallId, Digest, ToolName } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import type { Network } from "./network.ts";

/** Who asks. `proof` says how that is known; claims are what policy may rely on. */
export interface Caller {
  readonly kind: "User" | "Agent" | "Job" | "Service";
  readonly id: string;
  readonly proof: "process-owner" | "session" | "oidc" | "oauth";
  readonly claims: Readonly<Record<string, string | number | boolean>>;
}

/** Where calls act. */
export interface Environment {
  readonly name: string;
  readonly protected: boolean;
}

export interface CallContext {
  readonly environment: Environment;
  readonly repository?: string;
  readonly ref?: string;
  readonly event?: string;
  readonly parent?: CallId;
  /** 0 for a call that no tool made. */
  readonly depth: number;
}

/** One request, parsed once at the surface and frozen. */
export interface ToolCall {
  readonly id: CallId;
  readonly tool: ToolName;
  readonly toolDigest: Digest;
  readonly input: JsonObject;
  /** What it would reach, from the tool's manifest or, of `callgate.exec`, from the input. */
  readonly network: Network;
  readonly caller: Caller;
  readonly context: CallContext;
  /** Milliseconds since the epoch, UTC. */
  readonly receivedMs: number;
}
