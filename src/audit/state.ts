import { statSync } from "node:fs";
import { hostname } from "node:os";
import { GateError } from "../contract/errors.ts";
import { Masker } from "../contract/mask.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { corrupt } from "../store/sqlite-errors.ts";
import { ensureStateDir, readIfThere, replaceFile, statePath, unwritable } from "../store/state-dir.ts";
import type { Store, StoredHead } from "../store/store.ts";
import { type Checkpoint, openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import type { LogIdentity } from "./committer.ts";
import { entryBytes } from "./entry.ts";
import { identityOf, originOf, requireKey } from "./identity.ts";
import { createKey, type LogKey } from "./key.ts";
import { Frontier, leafHash, rootAt, sameHash } from "./merkle.ts";
import { formatVerifierKey } from "./note.ts";
import { storedHashes } from "./reader.ts";
import { wentBackwards } from "./rollback.ts";
import { bootId } from "./session.ts";

/** A state folder that was opened and found sound. */
export interface OpenState {
  readonly store: Store;
  readonly identity: LogIdentity;
  readonly origin: string;
  readonly verifierKey: string;
  readonly head: StoredHead;
}

function isThere(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Writes the first entry, unless another process just did. */
function begin(store: Store, key: LogKey, nowMs: number): void {
  store.transaction(() => {
    if (store.head.get() !== undefined) return;
    const origin = originOf(key.publicKey);
    const verifierKey = formatVerifierKey(origin, key.publicKey);
    const stamp = { origin, timeMs: nowMs, node: hostname(), boot: bootId() };
    const bytes = entryBytes({ kind: "genesis", verifierKey }, stamp, {}, new Masker([]));
    const root = leafHash(bytes);
    store.meta.put("origin", origin);
    store.meta.put("verifierKey", verifierKey);
    store.entries.add({ index: 0, hashes: root, call: null, bytes });
    const { signer } = identityOf(key, origin);
    store.head.put({ size: 1, root, note: signCheckpoint({ origin, size: 1, root }, signer) });
  });
}

/** The head, signed by this log and the root of what is there. Reads as many rows as the size has bits. */
function checkHead(store: Store, path: string, identity: LogIdentity): StoredHead {
  const head = store.head.get();
  if (head === undefined) throw corrupt(path, "the tree head is missing");
  const signed = openCheckpoint(head.note, identity.verifier);
  if (signed === undefined || signed.size !== head.size || !sameHash(signed.root, head.root)) {
    throw corrupt(path, "the tree head is not signed by this log");
  }
  const frontier = Frontier.read(head.size, storedHashes(store, path));
  if (!sameHash(frontier.root(), head.root)) throw corrupt(path, "the tree does not have its signed root");
  if (store.entries.list(head.size, 1).length > 0)
    throw corrupt(path, "it holds entries beyond its tree head");
  return head;
}

/** The database has to have grown out of the checkpoint beside it. */
function checkGrown(store: Store, path: string, older: Checkpoint, head: StoredHead): void {
  if (older.size > head.size) {
    throw wentBackwards(path, `a checkpoint signed ${older.size} entries and the database has ${head.size}`);
  }
  if (!sameHash(rootAt(older.size, storedHashes(store, path)), older.root)) {
    throw wentBackwards(path, `its first ${older.size} entries are not those that were signed`);
  }
}

function checkpointOf(stateDir: string, note: string, identity: LogIdentity): Checkpoint {
  const checkpoint = openCheckpoint(note, identity.verifier);
  if (checkpoint !== undefined) return checkpoint;
  throw corrupt(statePath(stateDir, "checkpoint"), "it is not a checkpoint signed by this log");
}

/** The key has to be the log's, and `log.pub` says which that is. */
function checkKey(
  store: Store,
  stateDir: string,
  key: LogKey,
): OpenState["identity"] & { verifierKey: string } {
  const path = statePath(stateDir, "database");
  const origin = store.meta.get("origin");
  const verifierKey = store.meta.get("verifierKey");
  if (origin === undefined || verifierKey === undefined)
    throw corrupt(path, "it does not say whose log it is");
  if (formatVerifierKey(origin, key.publicKey) !== verifierKey) {
    throw new GateError(
      "ERR_KEY_INVALID",
      `\`${statePath(stateDir, "key")}\` is not the key of this record`,
      {
        remedy: "put the record's own `log.key` back, or start a new record with `--state DIR`",
      },
    );
  }
  return { ...identityOf(key, origin), verifierKey };
}

/** Writes `log.pub`; under the writer lock, for two processes may find it missing. */
function publish(store: Store, path: string, verifierKey: string): void {
  const line = `${verifierKey}\n`;
  if (readIfThere(path) === line) return;
  store.transaction(() => {
    try {
      replaceFile(path, line);
    } catch (cause) {
      throw unwritable(path, cause);
    }
  });
}

/**
 * Opens a state folder, laying it out where it is empty, and refuses one that is damaged, went backwards or lost
 * its key. What is there is read in an order in which another process that starts at the same time cannot confuse:
 * it makes first the key, then the database, then the checkpoint, and each is looked for in reverse.
 * @throws GateError `ERR_STATE_…`, `ERR_KEY_…`
 */
export function openState(stateDir: string, nowMs: number): OpenState {
  ensureStateDir(stateDir);
  const path = statePath(stateDir, "database");
  const note = readIfThere(statePath(stateDir, "checkpoint"));
  const exists = isThere(path);
  if (!exists && note === undefined && !isThere(statePath(stateDir, "key"))) createKey(stateDir);
  const key = requireKey(stateDir);
  if (!exists && note !== undefined)
    throw wentBackwards(path, "a checkpoint is there and the database is not");
  const store = openSqliteStore(path);
  try {
    if (store.head.get() === undefined) {
      if (note !== undefined) throw wentBackwards(path, "a checkpoint is there and the database is empty");
      begin(store, key, nowMs);
    }
    const { verifierKey, ...identity } = checkKey(store, stateDir, key);
    // One unmoving state: another process may append between two looks.
    const head = store.snapshot(() => {
      const found = checkHead(store, path, identity);
      if (note !== undefined) checkGrown(store, path, checkpointOf(stateDir, note, identity), found);
      return found;
    });
    if (note === undefined) new CheckpointFile(stateDir, store, identity.verifier).flush();
    publish(store, statePath(stateDir, "publicKey"), verifierKey);
    return { store, identity, origin: identity.signer.name, verifierKey, head };
  } catch (fault) {
    store.close();
    throw fault;
  }
}
