import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { newCallId } from "../contract/ids.ts";
import { openSqliteStore, openSqliteStoreReadOnly } from "./sqlite.ts";
import { fromSqlite } from "./sqlite-errors.ts";
import { MEMO_ENTRIES_MAX, PAYLOADS_OF_ENTRY_MAX, type Store, type StoredPayload } from "./store.ts";

function place(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "callgate-store-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return join(dir, "callgate.db");
}

const blob = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const payload = (index: number, name: string): StoredPayload => ({
  index,
  name,
  commitment: blob(1),
  salt: blob(2),
  bytes: name === "bare" ? null : new TextEncoder().encode(name),
});

function pragma(path: string, name: string): unknown {
  using database = new DatabaseSync(path);
  return database.prepare(`PRAGMA ${name}`).get();
}

test("a new database is private, in WAL, and carries its schema's version", (t) => {
  const path = place(t);
  openSqliteStore(path).close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual({ ...(pragma(path, "journal_mode") as object) }, { journal_mode: "wal" });
  assert.deepEqual({ ...(pragma(path, "user_version") as object) }, { user_version: 1 });
});

test("entries come back as they were put in, by index, by call and in order", (t) => {
  using store = openSqliteStore(place(t));
  const call = newCallId();
  const entries = [0, 1, 2, 3].map((index) => ({
    index,
    bytes: `{"é":${index}}`,
    hashes: blob(index),
    call: index % 2 ? call : null,
  }));
  store.transaction(() => {
    for (const entry of entries) store.entries.add(entry);
  });
  assert.deepEqual(store.entries.get(2), entries[2]);
  assert.equal(store.entries.get(4), undefined);
  assert.deepEqual(store.entries.hashes(3), blob(3));
  assert.deepEqual(store.entries.list(1, 2), entries.slice(1, 3));
  assert.deepEqual(
    store.entries.ofCall(call).map(({ index }) => index),
    [1, 3],
  );
  assert.equal(store.entries.lastCall(), call);
  assert.deepEqual([...store.entries.stream()], entries);
});

test("an index is used once", (t) => {
  using store = openSqliteStore(place(t));
  const entry = { index: 0, bytes: "{}", hashes: blob(0), call: null };
  const twice = (): void =>
    store.transaction(() => {
      store.entries.add(entry);
      store.entries.add(entry);
    });
  assert.throws(twice, { code: "ERR_INTERNAL" });
  assert.equal(store.entries.get(0), undefined, "a transaction that failed left nothing");
});

test("payloads belong to their entry and are removed one by one", (t) => {
  using store = openSqliteStore(place(t));
  store.transaction(() => {
    store.payloads.add([payload(7, "input"), payload(7, "bare")]);
    store.payloads.add([payload(8, "input")]);
  });
  assert.deepEqual(store.payloads.ofEntry(7), [payload(7, "input"), payload(7, "bare")]);
  assert.deepEqual(
    [...store.payloads.stream()].map(({ index }) => index),
    [7, 7, 8],
  );
  assert.ok(store.payloads.remove(7, "input"));
  assert.ok(!store.payloads.remove(7, "input"));
  assert.deepEqual(store.payloads.ofEntry(7), [payload(7, "bare")]);
  const many = Array.from({ length: PAYLOADS_OF_ENTRY_MAX + 1 }, (_, i) => payload(9, `p${i}`));
  assert.throws(() => store.payloads.add(many), { code: "ERR_INTERNAL" });
  assert.deepEqual(store.payloads.ofEntry(9), []);
});

test("uses are counted, and forgotten once they expired", (t) => {
  using store = openSqliteStore(place(t));
  store.spends.take("a", 100);
  store.spends.take("a", 300);
  store.spends.take("b", 200);
  assert.deepEqual(
    ["a", "b", "c"].map((id) => store.spends.uses(id)),
    [2, 1, 0],
  );
  store.spends.prune(250);
  assert.deepEqual(
    ["a", "b"].map((id) => store.spends.uses(id)),
    [2, 0],
  );
});

test("a pending call is there until it is removed", (t) => {
  using store = openSqliteStore(place(t));
  const [one, two] = [newCallId(), newCallId()];
  store.pending.add({ call: two, index: 2, session: "s" });
  store.pending.add({ call: one, index: 1, session: "s" });
  assert.deepEqual(
    store.pending.list().map(({ call }) => call),
    [one, two],
  );
  assert.ok(store.pending.has(one));
  store.pending.remove(one);
  assert.ok(!store.pending.has(one));
});

test("the memo keeps the newest and replaces what has its key", (t) => {
  using store = openSqliteStore(place(t));
  for (let i = 0; i < MEMO_ENTRIES_MAX + 10; i++) store.memo.put(`k${i}`, "v");
  store.memo.put("k100", "new");
  assert.equal(store.memo.get("k9"), undefined);
  assert.equal(store.memo.get("k10"), "v");
  assert.equal(store.memo.get("k100"), "new");
  assert.throws(() => store.memo.put("k", "x".repeat(65_536)), { code: "ERR_USAGE" });
});

test("a value of another type is damage and no surprise", (t) => {
  const path = place(t);
  const store: Store = openSqliteStore(path);
  store.close();
  using database = new DatabaseSync(path);
  // STRICT tables refuse this; a table that is not was made by something else.
  database.exec("DROP TABLE head; CREATE TABLE head (one INTEGER PRIMARY KEY, size, root, note)");
  for (const values of ["'x', zeroblob(32), 'note'", "7, 'root', 'note'", "7, zeroblob(32), 5"]) {
    database.exec(`INSERT OR REPLACE INTO head VALUES (1, ${values})`);
    using damaged = openSqliteStore(path);
    assert.throws(() => damaged.head.get(), { code: "ERR_STATE_CORRUPT" }, values);
  }
});

test("a first opener waits for another that is laying the database out", async (t) => {
  const path = place(t);
  const program = `
    const { DatabaseSync } = require("node:sqlite");
    const database = new DatabaseSync(process.argv[1]);
    database.exec("CREATE TABLE begun (a); BEGIN IMMEDIATE");
    console.log("held");
    setTimeout(() => database.exec("COMMIT"), 300);`;
  const other = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "-e", program, path]);
  await once(other.stdout, "data");
  openSqliteStore(path).close();
  await once(other, "exit");
});

test("read-only means that nothing can be written", (t) => {
  const path = place(t);
  openSqliteStore(path).close();
  using store = openSqliteStoreReadOnly(path);
  assert.throws(() => store.memo.put("k", "v"), { code: "ERR_STATE_UNWRITABLE" });
  assert.equal(
    store.snapshot(() => store.memo.get("k")),
    undefined,
  );
});

test("a database that is empty holds no log to be read", (t) => {
  const path = place(t);
  writeFileSync(path, "");
  assert.throws(() => openSqliteStoreReadOnly(path), { code: "ERR_STATE_CORRUPT" });
  assert.throws(() => openSqliteStoreReadOnly(`${path}.none`), { code: "ERR_STATE_UNWRITABLE" });
});

test("what SQLite reports is told by its code", () => {
  const told = (errcode: number): unknown => {
    const fault = fromSqlite("db", Object.assign(new Error("why"), { errcode }));
    return fault instanceof Error && "code" in fault ? fault.code : undefined;
  };
  assert.equal(told(5), "ERR_STATE_UNWRITABLE");
  assert.equal(told(8 | (3 << 8)), "ERR_STATE_UNWRITABLE");
  assert.equal(told(13), "ERR_STATE_UNWRITABLE");
  assert.equal(told(11), "ERR_STATE_CORRUPT");
  assert.equal(told(26), "ERR_STATE_CORRUPT");
  assert.equal(told(19), "ERR_INTERNAL");
  const other = new TypeError("mine");
  assert.equal(fromSqlite("db", other), other);
});
