import type { CallContext, Caller } from "./call.ts";
import type { Changes } from "./changes.ts";
import type { Controls, Denial, KilledBy, Usage } from "./execution.ts";
import type { CallId, Digest, ToolName } from "./ids.ts";
import type { EgressFact } from "./network.ts";
import type { IsolationClass, Tier } from "./tier.ts";

interface OfCall {
  readonly call: CallId;
}

interface Asked extends OfCall {
  readonly tool: { readonly name: string; readonly digest?: Digest; readonly tier?: Tier };
  readonly caller: Caller;
  readonly context: CallContext;
  readonly decision: {
    readonly effect: "permit" | "ask" | "forbid";
    readonly policies: readonly string[];
    readonly reasons: readonly string[];
    readonly policyDigest?: Digest;
  };
}

/** What is about to be done. Durable before the tool is let in. Payload `input`. */
export interface IntentRecord extends Asked {
  readonly kind: "intent";
  readonly requestDigest: Digest;
  readonly capability: string;
}

/** A refusal. Durable before it is answered. Payload `input` where there was one. */
export interface DeniedRecord extends Asked {
  readonly kind: "denied";
  readonly code: string;
  readonly message: string;
}

/** What was seen in the airlock. Durable in one commit with the intent. */
export interface OpenedRecord extends OfCall {
  readonly kind: "opened";
  readonly driver: string;
  readonly isolation: IsolationClass;
  readonly profileDigest: Digest;
  readonly controls: Controls;
  /** How long it had waited, built ahead; 0: built for this call. */
  readonly waitedMs: number;
}

/** What happened at the edge of a tool's network. Durable before the call's outcome, as a rule within a second. */
export interface EgressRecord extends OfCall {
  readonly kind: "egress";
  readonly fact: EgressFact;
}

/** How it ended. Durable before the result is handed back. Payloads `stdout` and `stderr`. */
export interface OutcomeRecord extends OfCall {
  readonly kind: "outcome";
  readonly tool: ToolName;
  readonly outcome: "exited" | "killed" | "unstarted";
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly killedBy: KilledBy | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly startedMs: number | null;
  readonly endedMs: number;
  readonly usage: Usage | null;
  readonly denials: readonly Denial[];
  /** Of a tool with staged writes; a long list is shortened here, and whole in the payload `changes`. */
  readonly changes?: Changes;
}

/** An intent whose outcome nobody recorded, found at start: the gateway died in between. */
export interface RecoveredRecord extends OfCall {
  readonly kind: "recovered";
  readonly message: string;
}

/** A set of policies, tools or settings that came into force. */
export interface PolicyRecord {
  readonly kind: "policy" | "catalog";
  readonly digest: Digest;
  readonly summary: string;
}

/** One fact, appended before the act it describes. The log adds version, origin, time, node and payloads. */
export type AuditRecord =
  | IntentRecord
  | DeniedRecord
  | OpenedRecord
  | EgressRecord
  | OutcomeRecord
  | RecoveredRecord
  | PolicyRecord;

/** A fact on its way to the log, with the bytes to commit to, by name (`input`, `stdout`, `stderr`). */
export interface RecordDraft {
  readonly record: AuditRecord;
  readonly payloads?: Readonly<Record<string, Uint8Array>>;
}

/** Proof that one entry is in the log, to be kept by whoever got the result. About 1 KB. */
export interface Receipt {
  readonly version: 1;
  readonly origin: string;
  /** The entry's bytes as they were hashed: RFC 8785 JSON. */
  readonly entry: string;
  /** A C2SP `tlog-proof`: index, inclusion proof and signed checkpoint. */
  readonly proof: string;
}
