import type { GateErrorCode } from "./errors.ts";
import type { Digest } from "./ids.ts";
import type { IsolationClass } from "./tier.ts";

/** What a permit gives, and on which terms. Never less strict than the tier's minimum. */
export interface Grant {
  readonly isolation: IsolationClass;
  readonly approvals: number;
  readonly confirmation: boolean;
  /** Names of credentials, held by the gate. */
  readonly credentials: readonly string[];
}

interface Judged {
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
  /** One line each, for people. */
  readonly reasons: readonly string[];
  /** Digest over the texts of the policies that were asked. */
  readonly policyDigest: Digest;
}

export interface Permit extends Judged {
  readonly effect: "permit";
  readonly grant: Grant;
}

/** Permitted once people have said so. */
export interface Ask extends Judged {
  readonly effect: "ask";
  readonly grant: Grant;
}

export interface Forbid extends Judged {
  readonly effect: "forbid";
  readonly code: GateErrorCode;
  /** What would permit it, nearest first; each a sentence. */
  readonly remedies: readonly string[];
}

export type Decision = Permit | Ask | Forbid;
