import type { Spend } from "../contract/capability.ts";
import type { CallId } from "../contract/ids.ts";
import type { EntryKind } from "./entry.ts";
import type { FaultData } from "./fault.ts";

/** What a writer is asked to do and answers. Plain data: it crosses into the worker thread. */

export interface PayloadWork {
  readonly name: string;
  /** In hex, as is the salt: a short view of a long buffer would be cloned with all of it. */
  readonly commitment: string;
  readonly salt: string;
  /** Null where only the commitment is kept. */
  readonly bytes: Uint8Array | null;
}

export interface EntryWork {
  readonly kind: EntryKind;
  readonly call: CallId | null;
  readonly bytes: string;
  readonly payloads: readonly PayloadWork[];
}

/** Entries that stand or fall together, and what has to hold for them. */
export interface AppendWork {
  readonly entries: readonly EntryWork[];
  readonly spend: readonly Spend[];
  /** Whether to answer with a proof for each entry. */
  readonly proofs: boolean;
  /** Append nothing unless each call is still pending: another process may have recovered it. */
  readonly pendingOnly: boolean;
  /** A payload to delete with these entries. */
  readonly redact: { readonly index: number; readonly name: string } | null;
}

/** One commit. */
export interface Batch {
  readonly nowMs: number;
  readonly appends: readonly AppendWork[];
}

export type AppendDone =
  | { readonly first: number; readonly proofs: readonly string[] }
  | { readonly refused: FaultData };

/** What a writer starts from; it may be in another thread and so opens the folder itself. */
export interface WriterStart {
  readonly stateDir: string;
  readonly origin: string;
  readonly session: string;
  /** The head that was checked when the log was opened. */
  readonly size: number;
  readonly root: Uint8Array;
}

/** Commits batches, one at a time, in this thread or in another. */
export interface Writer {
  commit(batch: Batch): Promise<readonly AppendDone[]>;
  memoPut(key: string, value: string): Promise<void>;
  /** Writes the checkpoint file and lets go of the database. */
  close(): Promise<void>;
}
