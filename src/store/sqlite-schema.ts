import type { DatabaseSync } from "node:sqlite";
import { GateError } from "../contract/errors.ts";

/** `PRAGMA user_version` of the schema below. */
export const SCHEMA_VERSION = 1;

/**
 * `hashes` stands before `bytes` so that reading a proof's path never touches an entry's overflow pages.
 * A payload's place is its entry's index times `PAYLOADS_OF_ENTRY_MAX` and its number there, which needs no index.
 * Call ids are UUIDv7 and so arrive nearly sorted: their index grows at its right edge.
 */
const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL
  ) STRICT;
  CREATE TABLE entries (
    "index" INTEGER PRIMARY KEY, hashes BLOB NOT NULL, call TEXT, bytes TEXT NOT NULL
  ) STRICT;
  CREATE INDEX entries_of_call ON entries (call) WHERE call IS NOT NULL;
  CREATE TABLE payloads (
    place INTEGER PRIMARY KEY, name TEXT NOT NULL, commitment BLOB NOT NULL, salt BLOB NOT NULL, bytes BLOB
  ) STRICT;
  CREATE TABLE pending (
    call TEXT PRIMARY KEY, "index" INTEGER NOT NULL, session TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE spends (
    id TEXT PRIMARY KEY, uses INTEGER NOT NULL, expires_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE memo (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
`;

/** The schema version of an open database; 0 for one that is empty. */
export function schemaVersion(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
}

/** @throws GateError `ERR_STATE_NEWER` where a later version wrote the database. */
export function refuseNewer(path: string, version: number): void {
  if (version <= SCHEMA_VERSION) return;
  throw new GateError(
    "ERR_STATE_NEWER",
    `\`${path}\` has schema ${version} and this version of callgate reads up to ${SCHEMA_VERSION}`,
    { remedy: "install the newer version of callgate again, or name another folder with `--state DIR`" },
  );
}

/** Lays out an empty database. Inside a transaction, so that of two processes one does it. */
export function createSchema(database: DatabaseSync): void {
  database.exec(`${SCHEMA}; PRAGMA user_version = ${SCHEMA_VERSION}`);
}
