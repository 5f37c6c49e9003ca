import { GateError } from "../contract/errors.ts";
import { corrupt } from "../store/sqlite-errors.ts";
import type { Store, StoredHead, StoredPayload } from "../store/store.ts";
import { openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { toFaultData } from "./fault.ts";
import {
  type EdgeHashes,
  Frontier,
  type HashReader,
  inclusionProof,
  keeperOf,
  leafHash,
  rootAt,
  sameHash,
} from "./merkle.ts";
import type { Signer, Verifier } from "./note.ts";
import { formatProof } from "./proof.ts";
import { hashAtLevel, storedHashes } from "./reader.ts";
import { wentBackwards } from "./rollback.ts";
import type { AppendDone, AppendWork, Batch, PayloadWork } from "./work.ts";

/** Used-up sessions and tokens are forgotten a day after they expired, looked for every so many commits. */
const SPENDS_KEPT_MS: number = 24 * 60 * 60 * 1000;
const PRUNE_EVERY_COMMITS = 4096;

/** What a committer signs with, and checks with what other processes signed. */
export interface LogIdentity {
  readonly signer: Signer;
  readonly verifier: Verifier;
}

interface Tip {
  readonly frontier: Frontier;
  readonly root: Uint8Array;
}

/** What one commit adds: the entries' hashes, which proofs need before they can be read back. */
interface Growth {
  readonly base: Frontier;
  readonly edge: Frontier;
  readonly kept: Uint8Array[];
}

/** The hashes of the tree as it will be: from this commit, or from the edge the tree had before it. */
function growthHashes({ base, kept }: Growth): HashReader {
  return (level, index) => {
    const position = keeperOf(level, index) - base.size;
    const row = kept[position];
    // A complete subtree left of a new leaf, under a parent that holds that leaf, was on the old tree's edge.
    const found = position < 0 ? base.at(level) : row && hashAtLevel(row, level);
    if (found === undefined) throw new GateError("ERR_INTERNAL", "a hash of a new entry is missing");
    return found;
  };
}

/** Why a use of a session or token cannot be taken, or undefined where it can. */
function refusedSpend(append: AppendWork, store: Store, nowMs: number): GateError | undefined {
  const uses = new Map<string, number>();
  for (const { id, usesMax, expiresMs } of append.spend) {
    if (expiresMs <= nowMs) return new GateError("ERR_CAPABILITY", `the capability \`${id}\` has expired`);
    const used = uses.get(id) ?? store.spends.uses(id);
    // Written so that a bound that is no number refuses.
    if (!(used < usesMax)) return new GateError("ERR_CAPABILITY", `the capability \`${id}\` is used up`);
    uses.set(id, used + 1);
  }
  return undefined;
}

function toStored({ name, commitment, salt, bytes }: PayloadWork, index: number): StoredPayload {
  return { index, name, commitment: Buffer.from(commitment, "hex"), salt: Buffer.from(salt, "hex"), bytes };
}

/** Appends batches to the log: one transaction and one signed checkpoint each. Synchronous. */
export class Committer {
  readonly #store: Store;
  readonly #path: string;
  readonly #identity: LogIdentity;
  readonly #session: string;
  #tip: Tip;
  #commits = 0;

  /** `from` is the head that was checked when the log was opened. */
  constructor(
    store: Store,
    identity: LogIdentity,
    from: {
      readonly path: string;
      readonly session: string;
      readonly size: number;
      readonly root: Uint8Array;
    },
  ) {
    this.#store = store;
    this.#path = from.path;
    this.#session = from.session;
    this.#identity = identity;
    this.#tip = { frontier: Frontier.read(from.size, storedHashes(store, from.path)), root: from.root };
  }

  /**
   * Appends what may be appended; an append that is refused leaves nothing behind and does not hinder the others.
   * @throws GateError `ERR_STATE_UNWRITABLE`, `ERR_STATE_CORRUPT`, `ERR_STATE_ROLLBACK`; then nothing was appended
   */
  commit(batch: Batch): readonly AppendDone[] {
    const { done, tip } = this.#store.transaction(() => {
      const base = this.#catchUp().frontier;
      const growth: Growth = { base, edge: base.copy(), kept: [] };
      if (this.#commits++ % PRUNE_EVERY_COMMITS === 0) this.#store.spends.prune(batch.nowMs - SPENDS_KEPT_MS);
      const places = batch.appends.map((append) => this.#append(append, batch.nowMs, growth));
      if (growth.kept.length === 0)
        return { done: places.map((place) => finish(place, () => [])), tip: this.#tip };
      const head = this.#sign(growth);
      const read = growthHashes(growth);
      const edges: EdgeHashes = new Map();
      const proofs = (first: number, append: AppendWork): readonly string[] =>
        append.entries.map((_, position) => {
          const index = first + position;
          return formatProof(index, inclusionProof(index, head.size, read, edges), head.note);
        });
      const answers = batch.appends.map((append, position) =>
        finish(places[position], (first) => (append.proofs ? proofs(first, append) : [])),
      );
      return { done: answers, tip: { frontier: growth.edge, root: head.root } };
    });
    // Only now: had the commit failed, the tip would be ahead of the log.
    this.#tip = tip;
    return done;
  }

  /** The tree's edge as it is now, under the writer lock: another process may have appended since. */
  #catchUp(): Tip {
    const head = this.#store.head.get();
    const tip = this.#tip;
    if (head === undefined) throw corrupt(this.#path, "the tree head is missing");
    if (head.size === tip.frontier.size && sameHash(head.root, tip.root)) return tip;
    if (head.size < tip.frontier.size) {
      throw wentBackwards(this.#path, `it had ${tip.frontier.size} entries and now has ${head.size}`);
    }
    this.#tip = this.#adopt(head, tip);
    return this.#tip;
  }

  /** Takes over a head that another process signed, which has to grow out of the one seen last. */
  #adopt(head: StoredHead, seen: Tip): Tip {
    const signed = openCheckpoint(head.note, this.#identity.verifier);
    if (signed === undefined || signed.size !== head.size || !sameHash(signed.root, head.root)) {
      throw corrupt(this.#path, "the tree head is not signed by this log");
    }
    const read = storedHashes(this.#store, this.#path);
    const frontier = Frontier.read(head.size, read);
    if (!sameHash(frontier.root(), head.root))
      throw corrupt(this.#path, "the tree does not have its signed root");
    // A log must not sign a head that is inconsistent with one it signed before (C2SP tlog-checkpoint).
    if (!sameHash(rootAt(seen.frontier.size, read), seen.root)) {
      throw wentBackwards(this.#path, `its first ${seen.frontier.size} entries are no longer the same`);
    }
    return { frontier, root: head.root };
  }

  /** The index of the append's first entry, or why nothing of it was appended. Refusals come before any write. */
  #append(append: AppendWork, nowMs: number, growth: Growth): number | GateError {
    const { pending, spends, payloads, entries } = this.#store;
    const refused = refusedSpend(append, this.#store, nowMs);
    if (refused !== undefined) return refused;
    if (append.pendingOnly && !append.entries.every(({ call }) => call !== null && pending.has(call))) {
      return new GateError("ERR_NOT_FOUND", "the call is no longer pending");
    }
    if (append.redact !== null && !payloads.remove(append.redact.index, append.redact.name)) {
      return new GateError("ERR_NOT_FOUND", "no such payload is kept");
    }
    for (const { id, expiresMs } of append.spend) spends.take(id, expiresMs);
    const first = growth.edge.size;
    for (const { kind, call, bytes, payloads: committed } of append.entries) {
      const index = growth.edge.size;
      const hashes = Buffer.concat(growth.edge.append(leafHash(bytes)));
      growth.kept.push(hashes);
      entries.add({ index, hashes, call, bytes });
      if (committed.length > 0) payloads.add(committed.map((payload) => toStored(payload, index)));
      if (call === null) continue;
      if (kind === "intent") pending.add({ call, index, session: this.#session });
      else if (kind === "outcome" || kind === "denied" || kind === "recovered") pending.remove(call);
    }
    return first;
  }

  #sign(growth: Growth): StoredHead {
    const { signer } = this.#identity;
    const { size } = growth.edge;
    const root = growth.edge.root();
    const head = { size, root, note: signCheckpoint({ origin: signer.name, size, root }, signer) };
    this.#store.head.put(head);
    return head;
  }
}

function finish(
  place: number | GateError | undefined,
  proofs: (first: number) => readonly string[],
): AppendDone {
  return typeof place === "number"
    ? { first: place, proofs: proofs(place) }
    : { refused: toFaultData(place) };
}
