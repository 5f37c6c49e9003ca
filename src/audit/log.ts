import { hostname } from "node:os";
import type { Spend } from "../contract/capability.ts";
import { GateError } from "../contract/errors.ts";
import type { CallId } from "../contract/ids.ts";
import type { JsonObject } from "../contract/json.ts";
import { Masker, StreamMasker } from "../contract/mask.ts";
import type { Receipt, RecordDraft } from "../contract/record.ts";
import { corrupt } from "../store/sqlite-errors.ts";
import { statePath } from "../store/state-dir.ts";
import { PAYLOADS_OF_ENTRY_MAX, type Store, type StoredEntry, type StoredHead } from "../store/store.ts";
import { encodeBase64 } from "./base64.ts";
import { commit, Salts } from "./commitment.ts";
import { type EntryStamp, entryBytes, type LogRecord, type PayloadMention } from "./entry.ts";
import { consistencyProof, inclusionProof } from "./merkle.ts";
import { formatProof } from "./proof.ts";
import { AppendQueue } from "./queue.ts";
import { storedHashes } from "./reader.ts";
import { bootId, isAlive, thisSession } from "./session.ts";
import { type OpenState, openState } from "./state.ts";
import type { AppendWork, EntryWork, PayloadWork, Writer } from "./work.ts";
import { LocalWriter } from "./writer-local.ts";

export interface OpenLogOptions {
  /** Absolute; made with mode 0700 where it is not there. */
  readonly stateDir: string;
  /** `inline` commits in this thread, for commands that end soon; `worker` in one of its own, for gateways. */
  readonly mode: "inline" | "worker";
  /** Values that must never reach the record; those under six characters are ignored. */
  readonly secrets?: readonly (string | Uint8Array)[];
  /** Whether payloads are kept and not only committed to, where an append does not say. Default false. */
  readonly keepPayloads?: boolean;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

export interface AppendOptions {
  /** Uses taken in the same transaction; one that cannot be taken refuses the append with `ERR_CAPABILITY`. */
  readonly spend?: readonly Spend[];
  /** Whether to answer with receipts. They come out of the commit and cost no reading. */
  readonly receipts?: boolean;
  readonly keepPayloads?: boolean;
}

export interface Appended {
  readonly index: number;
  /** The entry as it was hashed: RFC 8785 JSON. */
  readonly bytes: string;
  /** Where the append asked for it. */
  readonly receipt: Receipt | null;
}

export interface LogEntry {
  readonly index: number;
  readonly bytes: string;
  /** `bytes`, parsed. */
  readonly entry: JsonObject;
}

/** What opens one of an entry's commitments. */
export interface LogPayload {
  readonly name: string;
  /** `sha256:` and hex. */
  readonly commitment: string;
  readonly salt: Uint8Array;
  /** Null where only the commitment was kept. */
  readonly bytes: Uint8Array | null;
}

/** Shows that the log of size `to` grew out of the one of size `from`. */
export interface LogConsistency {
  readonly from: number;
  readonly to: number;
  /** RFC 9162 section 2.1.4, each hash in base64. */
  readonly proof: readonly string[];
  /** The signed note of size `to`. */
  readonly checkpoint: string;
}

export interface RecoveredCall {
  readonly call: CallId;
  /** Of the intent that has no outcome. */
  readonly intent: number;
  /** Of the `recovered` entry. */
  readonly index: number;
}

/** A small memory beside the log, shared by every process of the store. Bounded, and proves nothing. */
export interface Memo {
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
}

/** Entries that `scan` gives at once. */
export const SCAN_ENTRIES_MAX = 1000;

/** Values that `learnSecrets` keeps beside those given at the opening: every one costs time on every byte. */
export const LEARNT_SECRETS_MAX = 256;

const RECOVERED = "the gateway ended before it recorded an outcome; what the tool did is not known";

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** The record of every call: append-only, signed, provable. Close it, or `await using` it. */
export class AuditLog implements AsyncDisposable {
  /** The log's name, which every entry and checkpoint carries. */
  readonly origin: string;
  /** The public key as a C2SP vkey line. */
  readonly verifierKey: string;
  readonly memo: Memo;
  readonly #path: string;
  readonly #store: Store;
  readonly #writer: Writer;
  readonly #queue: AppendQueue;
  readonly #given: readonly (string | Uint8Array)[];
  /** In the order in which they were learnt. */
  readonly #learnt = new Set<string>();
  #masker: Masker;
  readonly #salts: Salts = new Salts();
  readonly #now: () => number;
  readonly #keepPayloads: boolean;
  readonly #place: { readonly node: string; readonly boot: string };
  #closing: Promise<void> | undefined;

  /** Use `openLog`. */
  constructor(state: OpenState, writer: Writer, options: OpenLogOptions) {
    this.origin = state.origin;
    this.verifierKey = state.verifierKey;
    this.#path = statePath(options.stateDir, "database");
    this.#store = state.store;
    this.#writer = writer;
    this.#now = options.now ?? Date.now;
    this.#queue = new AppendQueue(writer, this.#now);
    this.#given = [...(options.secrets ?? [])];
    this.#masker = new Masker(this.#given);
    this.#keepPayloads = options.keepPayloads ?? false;
    this.#place = { node: hostname(), boot: bootId() };
    this.memo = {
      get: async (key) => state.store.memo.get(key),
      put: (key, value) => writer.memoPut(key, value),
    };
  }

  /**
   * Appends records in order, all or none, next to each other. Resolves when they are durable and covered by a
   * signed checkpoint.
   * @throws GateError `ERR_CAPABILITY` where a spend cannot be taken, `ERR_STATE_…`, `ERR_INTERNAL` for a record
   * that no entry can hold; then nothing was appended and nothing spent
   */
  async append(drafts: readonly RecordDraft[], options: AppendOptions = {}): Promise<readonly Appended[]> {
    const keep = options.keepPayloads ?? this.#keepPayloads;
    const entries = drafts.map(({ record, payloads }) => this.#entry(record, payloads ?? {}, keep));
    return this.#push({
      entries,
      spend: options.spend ?? [],
      proofs: options.receipts ?? false,
      pendingOnly: false,
      redact: null,
    });
  }

  /** `bytes` with the secrets masked that this log masks. */
  mask(bytes: Uint8Array): Uint8Array {
    return this.#masker.bytes(bytes);
  }

  /** A JSON value, masked likewise. */
  maskJson<T>(value: T): T {
    return this.#masker.json(value);
  }

  /** Masks a stream likewise, also with what is learnt while it flows. */
  streamMasker(): StreamMasker {
    return new StreamMasker(() => this.#masker);
  }

  /**
   * Masks these too, from now on, in every entry and payload. Tell them before their first use. Of more than
   * `LEARNT_SECRETS_MAX` those learnt longest ago are forgotten.
   */
  learnSecrets(values: readonly string[]): void {
    for (const value of values) {
      // Learnt again it is the newest.
      this.#learnt.delete(value);
      this.#learnt.add(value);
    }
    const many = this.#learnt.size - LEARNT_SECRETS_MAX;
    for (const oldest of [...this.#learnt].slice(0, Math.max(0, many))) this.#learnt.delete(oldest);
    this.#masker = new Masker([...this.#given, ...this.#learnt]);
  }

  /** The newest signed tree head. */
  async checkpoint(): Promise<string> {
    return this.#head().note;
  }

  /** @throws GateError `ERR_NOT_FOUND` where there is no such entry. */
  async receipt(index: number): Promise<Receipt> {
    const head = this.#head();
    const entry = this.#store.entries.get(index);
    if (entry === undefined || index >= head.size) throw notFound(`no entry ${index} is in the record`);
    const path = inclusionProof(index, head.size, storedHashes(this.#store, this.#path));
    return this.#receipt(entry.bytes, formatProof(index, path, head.note));
  }

  /** For whoever kept an older checkpoint. @throws GateError `ERR_NOT_FOUND` where the log is not that long. */
  async consistency(from: number): Promise<LogConsistency> {
    const head = this.#head();
    if (!Number.isSafeInteger(from) || from < 0 || from > head.size) {
      throw notFound(`the record has ${head.size} entries, not ${from}`);
    }
    const proof = consistencyProof(from, head.size, storedHashes(this.#store, this.#path)).map(encodeBase64);
    return { from, to: head.size, proof, checkpoint: head.note };
  }

  /** All of one call's entries in order; empty where the record has none. What a call may do bounds them. */
  async entriesOfCall(call: CallId): Promise<readonly LogEntry[]> {
    return this.#store.entries.ofCall(call).map((entry) => this.#parsed(entry));
  }

  /** The call whose entry is the newest. */
  async lastCall(): Promise<CallId | undefined> {
    return this.#store.entries.lastCall();
  }

  /** Entries from index `from` on, at most `limit` and never more than `SCAN_ENTRIES_MAX`. */
  async scan(range: { readonly from?: number; readonly limit?: number } = {}): Promise<readonly LogEntry[]> {
    const limit = Math.min(range.limit ?? SCAN_ENTRIES_MAX, SCAN_ENTRIES_MAX);
    return this.#store.entries.list(range.from ?? 0, limit).map((entry) => this.#parsed(entry));
  }

  /** How many entries there are. */
  async size(): Promise<number> {
    return this.#head().size;
  }

  /** What an entry committed to under `name` (`input`, `stdout`, `stderr`), as far as it was kept. */
  async payload(index: number, name: string): Promise<LogPayload | undefined> {
    const payload = this.#store.payloads.ofEntry(index).find((each) => each.name === name);
    if (payload === undefined) return undefined;
    const { commitment, salt, bytes } = payload;
    return { name, commitment: `sha256:${hex(commitment)}`, salt, bytes };
  }

  /** Deletes a payload and its salt and says so in the record; the commitment and every proof stay valid. */
  async redact(index: number, name: string, reason: string): Promise<Appended> {
    const entry = this.#entry({ kind: "redacted", entry: index, payload: name, reason }, {}, false);
    const redact = { index, name };
    const work = { entries: [entry], spend: [], proofs: true, pendingOnly: false, redact };
    const [appended] = await this.#push(work);
    if (appended === undefined) throw new GateError("ERR_INTERNAL", "nothing was appended");
    return appended;
  }

  /**
   * Ends calls whose gateway died: each intent without an outcome, of a process that no longer runs, gets a
   * `recovered` entry. Calls of gateways that are alive beside this one stay as they are.
   */
  async recover(): Promise<readonly RecoveredCall[]> {
    const dead = this.#store.pending.list().filter(({ session }) => !isAlive(session));
    const recovered = dead.map(async ({ call, index }): Promise<RecoveredCall | undefined> => {
      const entry = this.#entry({ kind: "recovered", call, message: RECOVERED }, {}, false);
      try {
        const work = { entries: [entry], spend: [], proofs: false, pendingOnly: true, redact: null };
        const [appended] = await this.#push(work);
        return appended && { call, intent: index, index: appended.index };
      } catch (fault) {
        // Another process recovered it in between.
        if (fault instanceof GateError && fault.code === "ERR_NOT_FOUND") return undefined;
        throw fault;
      }
    });
    return (await Promise.all(recovered)).filter((each) => each !== undefined);
  }

  /** Waits for what is under way, writes the checkpoint file and closes the database. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#queue.drain();
    try {
      await this.#writer.close();
    } finally {
      this.#store.close();
    }
  }

  #head(): StoredHead {
    const head = this.#store.head.get();
    if (head === undefined) throw corrupt(this.#path, "the tree head is missing");
    return head;
  }

  #parsed({ index, bytes }: StoredEntry): LogEntry {
    try {
      return { index, bytes, entry: JSON.parse(bytes) as JsonObject };
    } catch (cause) {
      throw corrupt(this.#path, `entry ${index} is not JSON`, cause);
    }
  }

  #receipt(entry: string, proof: string): Receipt {
    return { version: 1, origin: this.origin, entry, proof };
  }

  async #push(work: AppendWork): Promise<readonly Appended[]> {
    if (this.#closing !== undefined) throw new GateError("ERR_INTERNAL", "the record is closed");
    if (work.entries.length === 0) return [];
    const { first, proofs } = await this.#queue.push(work);
    return work.entries.map(({ bytes }, position) => {
      const proof = proofs[position];
      const receipt = proof === undefined ? null : this.#receipt(bytes, proof);
      return { index: first + position, bytes, receipt };
    });
  }

  #entry(record: LogRecord, payloads: Readonly<Record<string, Uint8Array>>, keep: boolean): EntryWork {
    const named = Object.entries(payloads);
    if (named.length > PAYLOADS_OF_ENTRY_MAX)
      throw new GateError("ERR_INTERNAL", "too many payloads in one entry");
    const works: PayloadWork[] = [];
    const mentions: Record<string, PayloadMention> = {};
    for (const [name, unmasked] of named) {
      const bytes = this.#masker.bytes(unmasked);
      const salt = this.#salts.next();
      const commitment = commit(salt, bytes).toString("hex");
      mentions[name] = { bytes: bytes.length, commitment: `sha256:${commitment}` };
      works.push({
        name,
        commitment,
        salt: salt.toString("hex"),
        bytes: keep ? Uint8Array.from(bytes) : null,
      });
    }
    const stamp: EntryStamp = { origin: this.origin, timeMs: Math.trunc(this.#now()), ...this.#place };
    const call = "call" in record ? record.call : null;
    return {
      kind: record.kind,
      call,
      bytes: entryBytes(record, stamp, mentions, this.#masker),
      payloads: works,
    };
  }
}

function notFound(message: string): GateError {
  return new GateError("ERR_NOT_FOUND", message, { remedy: "`callgate log show` lists what is there" });
}

/**
 * Opens the record of a state folder, made where there is none.
 * @throws GateError `ERR_STATE_…` or `ERR_KEY_…`, each with what to do
 */
export async function openLog(options: OpenLogOptions): Promise<AuditLog> {
  const { stateDir, mode } = options;
  const state = openState(stateDir, Math.trunc((options.now ?? Date.now)()));
  const { origin, head, identity } = state;
  const start = { stateDir, origin, session: thisSession(), size: head.size, root: head.root };
  try {
    const writer =
      mode === "inline"
        ? new LocalWriter(state.store, identity, start)
        : new (await import("./writer-remote.ts")).RemoteWriter(start);
    return new AuditLog(state, writer, options);
  } catch (fault) {
    state.store.close();
    throw fault;
  }
}
