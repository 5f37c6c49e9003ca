import type { CallId } from "../contract/ids.ts";

/** What a record's database keeps. Everything here is rows; what they mean is `audit/`'s business. */

/** One entry of the log. */
export interface StoredEntry {
  readonly index: number;
  /** The entry's bytes as they were hashed. */
  readonly bytes: string;
  /** The hash of the leaf and of every subtree it completes, lowest first, 32 bytes each. */
  readonly hashes: Uint8Array;
  readonly call: CallId | null;
}

/** The newest signed tree head. */
export interface StoredHead {
  readonly size: number;
  readonly root: Uint8Array;
  /** The signed note. */
  readonly note: string;
}

/** What an entry committed to. Without `bytes` the payload was not kept, and the salt still opens the commitment. */
export interface StoredPayload {
  readonly index: number;
  readonly name: string;
  /** SHA-256(salt || payload). */
  readonly commitment: Uint8Array;
  readonly salt: Uint8Array;
  readonly bytes: Uint8Array | null;
}

/** An intent that has no outcome yet, and the process that is at it. */
export interface PendingCall {
  readonly call: CallId;
  readonly index: number;
  /** Opaque here; says which process, see `audit/session.ts`. */
  readonly session: string;
}

/** How many payloads one entry may commit to. */
export const PAYLOADS_OF_ENTRY_MAX = 16;
/** How many remembered values are kept; the oldest go first. */
export const MEMO_ENTRIES_MAX = 256;
/** The longest value remembered. */
export const MEMO_VALUE_CHARS_MAX: number = 64 * 1024;

/**
 * A record's database. Calls are synchronous: SQLite is, and whoever must not wait sits in another thread.
 * Every method may throw GateError `ERR_STATE_UNWRITABLE` or `ERR_STATE_CORRUPT`.
 */
export interface Store extends Disposable {
  /** Runs `work` as the only writer among all processes; its writes are durable on return, undone if it throws. */
  transaction<T>(work: () => T): T;
  /** Runs `work` against one unmoving state. */
  snapshot<T>(work: () => T): T;

  readonly meta: {
    get(name: string): string | undefined;
    put(name: string, value: string): void;
  };
  readonly head: {
    get(): StoredHead | undefined;
    put(head: StoredHead): void;
  };
  readonly entries: {
    add(entry: StoredEntry): void;
    get(index: number): StoredEntry | undefined;
    /** Only the hashes kept with that entry. */
    hashes(index: number): Uint8Array | undefined;
    /** Up to `limit` entries from index `from` on. */
    list(from: number, limit: number): readonly StoredEntry[];
    /** All of one call's entries, in order. */
    ofCall(call: CallId): readonly StoredEntry[];
    /** The newest entry that belongs to a call. */
    lastCall(): CallId | undefined;
    /** Every entry in order, read as it is asked for. */
    stream(): IterableIterator<StoredEntry>;
  };
  readonly payloads: {
    /** All of one entry's, at most `PAYLOADS_OF_ENTRY_MAX`. */
    add(payloads: readonly StoredPayload[]): void;
    ofEntry(index: number): readonly StoredPayload[];
    /** Every payload in the order of its entry, read as it is asked for. */
    stream(): IterableIterator<StoredPayload>;
    /** Deletes payload and salt; whether there was one. */
    remove(index: number, name: string): boolean;
  };
  readonly pending: {
    add(pending: PendingCall): void;
    has(call: CallId): boolean;
    remove(call: CallId): void;
    list(): readonly PendingCall[];
  };
  readonly spends: {
    /** How often the session or token was used. */
    uses(id: string): number;
    take(id: string, expiresMs: number): void;
    /** Forgets what expired before `beforeMs`. */
    prune(beforeMs: number): void;
  };
  /** A small memory that is no part of the log and proves nothing. */
  readonly memo: {
    get(key: string): string | undefined;
    put(key: string, value: string): void;
  };
  /** Sees to it that what was deleted is in none of the database's files any more. */
  erase(): void;
  close(): void;
}
