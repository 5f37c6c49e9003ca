import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { GateError } from "../contract/errors.ts";
import { type CallId, parseCallId } from "../contract/ids.ts";
import { corrupt, fromSqlite } from "./sqlite-errors.ts";
import {
  MEMO_ENTRIES_MAX,
  MEMO_VALUE_CHARS_MAX,
  PAYLOADS_OF_ENTRY_MAX,
  type PendingCall,
  type Store,
  type StoredEntry,
  type StoredHead,
  type StoredPayload,
} from "./store.ts";

type Row = Record<string, SQLOutputValue>;

const ENTRY = `SELECT "index", hashes, call, bytes FROM entries`;
const PAYLOAD = "SELECT place, name, commitment, salt, bytes FROM payloads";

/** The tables of a SQLite store. Statements are prepared when first used, so a short command pays for few. */
export class SqliteTables {
  readonly path: string;
  protected readonly database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(path: string, database: DatabaseSync) {
    this.path = path;
    this.database = database;
  }

  protected statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, ...values: SQLInputValue[]): number {
    try {
      return Number(this.statement(sql).run(...values).changes);
    } catch (fault) {
      throw fromSqlite(this.path, fault);
    }
  }

  #row(sql: string, ...values: SQLInputValue[]): Row | undefined {
    try {
      return this.statement(sql).get(...values);
    } catch (fault) {
      throw fromSqlite(this.path, fault);
    }
  }

  #rows(sql: string, ...values: SQLInputValue[]): readonly Row[] {
    try {
      return this.statement(sql).all(...values);
    } catch (fault) {
      throw fromSqlite(this.path, fault);
    }
  }

  // The schema is STRICT, so a value of another type was put there by something that is not SQLite.
  #number(row: Row, name: string): number {
    const value = row[name];
    if (typeof value !== "number") throw corrupt(this.path, `\`${name}\` is no number`);
    return value;
  }

  #text(row: Row, name: string): string {
    const value = row[name];
    if (typeof value !== "string") throw corrupt(this.path, `\`${name}\` is no text`);
    return value;
  }

  #blob(row: Row, name: string): Uint8Array {
    const value = row[name];
    if (!(value instanceof Uint8Array)) throw corrupt(this.path, `\`${name}\` is no blob`);
    return value;
  }

  #call(row: Row): CallId {
    const text = this.#text(row, "call");
    try {
      return parseCallId(text);
    } catch (cause) {
      throw corrupt(this.path, `\`${text}\` is no call id`, cause);
    }
  }

  #entry(row: Row): StoredEntry {
    return {
      index: this.#number(row, "index"),
      hashes: this.#blob(row, "hashes"),
      call: row["call"] === null ? null : this.#call(row),
      bytes: this.#text(row, "bytes"),
    };
  }

  #payload(row: Row): StoredPayload {
    return {
      index: Math.floor(this.#number(row, "place") / PAYLOADS_OF_ENTRY_MAX),
      name: this.#text(row, "name"),
      commitment: this.#blob(row, "commitment"),
      salt: this.#blob(row, "salt"),
      bytes: row["bytes"] === null ? null : this.#blob(row, "bytes"),
    };
  }

  #pending(row: Row): PendingCall {
    return { call: this.#call(row), index: this.#number(row, "index"), session: this.#text(row, "session") };
  }

  readonly meta: Store["meta"] = {
    get: (name) => {
      const row = this.#row("SELECT value FROM meta WHERE name = ?", name);
      return row && this.#text(row, "value");
    },
    put: (name, value) => {
      this.#run("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", name, value);
    },
  };

  readonly head: Store["head"] = {
    get: () => {
      const row = this.#row("SELECT size, root, note FROM head");
      return (
        row && {
          size: this.#number(row, "size"),
          root: this.#blob(row, "root"),
          note: this.#text(row, "note"),
        }
      );
    },
    put: ({ size, root, note }: StoredHead) => {
      this.#run("INSERT OR REPLACE INTO head (one, size, root, note) VALUES (1, ?, ?, ?)", size, root, note);
    },
  };

  readonly entries: Store["entries"] = {
    add: ({ index, hashes, call, bytes }) => {
      this.#run(
        `INSERT INTO entries ("index", hashes, call, bytes) VALUES (?, ?, ?, ?)`,
        index,
        hashes,
        call,
        bytes,
      );
    },
    get: (index) => {
      const row = this.#row(`${ENTRY} WHERE "index" = ?`, index);
      return row && this.#entry(row);
    },
    hashes: (index) => {
      const row = this.#row(`SELECT hashes FROM entries WHERE "index" = ?`, index);
      return row && this.#blob(row, "hashes");
    },
    list: (from, limit) =>
      this.#rows(`${ENTRY} WHERE "index" >= ? ORDER BY "index" LIMIT ?`, from, limit).map((row) =>
        this.#entry(row),
      ),
    ofCall: (call) =>
      this.#rows(`${ENTRY} WHERE call = ? ORDER BY "index"`, call).map((row) => this.#entry(row)),
    lastCall: () => {
      const row = this.#row(`SELECT call FROM entries WHERE call IS NOT NULL ORDER BY "index" DESC LIMIT 1`);
      return row && this.#call(row);
    },
    stream: () => this.#stream(`${ENTRY} ORDER BY "index"`, (row) => this.#entry(row)),
  };

  *#stream<T>(sql: string, read: (row: Row) => T): Generator<T, void, undefined> {
    try {
      for (const row of this.statement(sql).iterate()) yield read(row);
    } catch (fault) {
      throw fromSqlite(this.path, fault);
    }
  }

  readonly payloads: Store["payloads"] = {
    add: (payloads) => {
      if (payloads.length > PAYLOADS_OF_ENTRY_MAX)
        throw new GateError("ERR_INTERNAL", "too many payloads in one entry");
      payloads.forEach(({ index, name, commitment, salt, bytes }, number) => {
        const place = index * PAYLOADS_OF_ENTRY_MAX + number;
        const sql = "INSERT INTO payloads (place, name, commitment, salt, bytes) VALUES (?, ?, ?, ?, ?)";
        this.#run(sql, place, name, commitment, salt, bytes);
      });
    },
    ofEntry: (index) => {
      const first = index * PAYLOADS_OF_ENTRY_MAX;
      const sql = `${PAYLOAD} WHERE place BETWEEN ? AND ? ORDER BY place`;
      return this.#rows(sql, first, first + PAYLOADS_OF_ENTRY_MAX - 1).map((row) => this.#payload(row));
    },
    stream: () => this.#stream(`${PAYLOAD} ORDER BY place`, (row) => this.#payload(row)),
    remove: (index, name) => {
      const first = index * PAYLOADS_OF_ENTRY_MAX;
      const sql = "DELETE FROM payloads WHERE place BETWEEN ? AND ? AND name = ?";
      return this.#run(sql, first, first + PAYLOADS_OF_ENTRY_MAX - 1, name) > 0;
    },
  };

  readonly pending: Store["pending"] = {
    add: ({ call, index, session }) => {
      this.#run(
        `INSERT OR REPLACE INTO pending (call, "index", session) VALUES (?, ?, ?)`,
        call,
        index,
        session,
      );
    },
    has: (call) => this.#row("SELECT 1 FROM pending WHERE call = ?", call) !== undefined,
    remove: (call) => {
      this.#run("DELETE FROM pending WHERE call = ?", call);
    },
    list: () =>
      this.#rows(`SELECT call, "index", session FROM pending ORDER BY "index"`).map((row) =>
        this.#pending(row),
      ),
  };

  readonly spends: Store["spends"] = {
    uses: (id) => {
      const row = this.#row("SELECT uses FROM spends WHERE id = ?", id);
      return row === undefined ? 0 : this.#number(row, "uses");
    },
    take: (id, expiresMs) => {
      const sql = `INSERT INTO spends (id, uses, expires_ms) VALUES (?, 1, ?)
        ON CONFLICT (id) DO UPDATE SET uses = uses + 1, expires_ms = max(expires_ms, excluded.expires_ms)`;
      this.#run(sql, id, expiresMs);
    },
    prune: (beforeMs) => {
      this.#run("DELETE FROM spends WHERE expires_ms < ?", beforeMs);
    },
  };

  readonly memo: Store["memo"] = {
    get: (key) => {
      const row = this.#row("SELECT value FROM memo WHERE key = ?", key);
      return row && this.#text(row, "value");
    },
    put: (key, value) => {
      if (key.length + value.length > MEMO_VALUE_CHARS_MAX) {
        throw new GateError("ERR_USAGE", "a value to remember is too long");
      }
      this.#run(
        "INSERT OR REPLACE INTO memo (id, key, value) VALUES ((SELECT max(id) FROM memo) + 1, ?, ?)",
        key,
        value,
      );
      this.#run(
        "DELETE FROM memo WHERE id NOT IN (SELECT id FROM memo ORDER BY id DESC LIMIT ?)",
        MEMO_ENTRIES_MAX,
      );
    },
  };
}
