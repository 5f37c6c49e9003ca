import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { GateError } from "../contract/errors.ts";
import { corrupt, fromSqlite, isBusy } from "./sqlite-errors.ts";
import { createSchema, refuseNewer, schemaVersion } from "./sqlite-schema.ts";
import { SqliteTables } from "./sqlite-tables.ts";
import { reserveDatabase } from "./state-dir.ts";
import type { Store } from "./store.ts";

/** How long one process waits for the others. Four on one database waited up to half a second. */
const BUSY_WAIT_MS = 30_000;
/** WAL pages after which they are written back into the database: fewer, longer pauses than SQLite's 1,000. */
const WAL_PAGES_MAX = 4_000;
const CACHE_KIB = 16 * 1024;

class SqliteStore extends SqliteTables implements Store {
  transaction<T>(work: () => T): T {
    return this.#within("BEGIN IMMEDIATE", work);
  }

  snapshot<T>(work: () => T): T {
    return this.#within("BEGIN", work);
  }

  erase(): void {
    // Deleting overwrites (`secure_delete`), but the log of pages still holds them as they were.
    try {
      this.database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch (fault) {
      throw fromSqlite(this.path, fault);
    }
  }

  close(): void {
    if (this.database.isOpen) this.database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #within<T>(begin: string, work: () => T): T {
    try {
      this.statement(begin).run();
      const value = work();
      this.statement("COMMIT").run();
      return value;
    } catch (fault) {
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw fromSqlite(this.path, fault);
    }
  }
}

/** Switching to WAL does not wait its turn as other statements do, so two first openers may collide. */
function enterWal(database: DatabaseSync): void {
  const deadline = Date.now() + BUSY_WAIT_MS;
  for (;;) {
    try {
      database.exec("PRAGMA journal_mode = WAL");
      return;
    } catch (fault) {
      if (!isBusy(fault) || Date.now() > deadline) throw fault;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/**
 * Opens the database and lays it out where it is new. Whoever creates it has made its folder private before.
 * @throws GateError `ERR_STATE_NEWER`, `ERR_STATE_CORRUPT`, `ERR_STATE_UNWRITABLE`
 */
export function openSqliteStore(path: string): Store {
  reserveDatabase(path);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: BUSY_WAIT_MS });
    const version = schemaVersion(database);
    refuseNewer(path, version);
    if (version === 0) enterWal(database);
    database.exec(
      `PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = ${WAL_PAGES_MAX}; PRAGMA cache_size = -${CACHE_KIB}`,
    );
    const store = new SqliteStore(path, database);
    const opened = database;
    if (version === 0) {
      store.transaction(() => {
        if (schemaVersion(opened) === 0) createSchema(opened);
      });
    }
    return store;
  } catch (fault) {
    database?.close();
    throw fromSqlite(path, fault);
  }
}

function tryReadOnly(path: string | URL): DatabaseSync {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_WAIT_MS });
  try {
    // Opening reads nothing yet; this does.
    schemaVersion(database);
    return database;
  } catch (fault) {
    database.close();
    throw fault;
  }
}

/**
 * Opens a database that is only looked at, also one on a disk that cannot be written.
 * @throws GateError `ERR_STATE_NEWER`, `ERR_STATE_CORRUPT`, `ERR_STATE_UNWRITABLE`
 */
export function openSqliteStoreReadOnly(path: string): Store {
  let database: DatabaseSync;
  try {
    database = tryReadOnly(path);
  } catch (fault) {
    const cannot = fromSqlite(path, fault);
    if (!(cannot instanceof GateError) || cannot.code !== "ERR_STATE_UNWRITABLE") throw cannot;
    // A WAL database needs a side file even to be read; where none can be made nobody writes either.
    try {
      database = tryReadOnly(new URL(`${pathToFileURL(path).href}?immutable=1`));
    } catch {
      throw cannot;
    }
  }
  try {
    const version = schemaVersion(database);
    refuseNewer(path, version);
    if (version === 0) throw corrupt(path, "it holds no log");
    return new SqliteStore(path, database);
  } catch (fault) {
    database.close();
    throw fault;
  }
}
