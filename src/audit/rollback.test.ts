import assert from "node:assert/strict";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openSqliteStore } from "../store/sqlite.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { note, stateDir } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { parseVerifierKey } from "./note.ts";
import { rawEntries, rewrite, tamper as sql } from "./verify.fixture.ts";

const open = (dir: string): ReturnType<typeof openLog> => openLog({ stateDir: dir, mode: "inline" });

/** A closed log of `entries` entries beside the first. */
async function madeLog(t: TestContext, entries = 3): Promise<string> {
  const dir = stateDir(t);
  await using log = await open(dir);
  for (let i = 0; i < entries; i++) await log.append([note(`${i}`)]);
  return dir;
}

test("a database put back from an older copy is noticed", async (t) => {
  const dir = await madeLog(t);
  const copy = `${dir}-copy`;
  cpSync(dir, copy, { recursive: true });
  {
    await using log = await open(dir);
    await log.append([note("later")]);
  }
  copyFileSync(join(copy, "callgate.db"), join(dir, "callgate.db"));
  await assert.rejects(open(dir), {
    code: "ERR_STATE_ROLLBACK",
    message: /a checkpoint signed 5 entries and the database has 4/,
    remedy: /put back the newest copy/,
  });
});

test("a database that grew elsewhere out of an older copy is noticed, though it is longer", async (t) => {
  const dir = await madeLog(t);
  const copy = `${dir}-copy`;
  cpSync(dir, copy, { recursive: true });
  chmodSync(copy, 0o700);
  for (const [folder, entries] of [
    [dir, 1],
    [copy, 9],
  ] as const) {
    await using log = await open(folder);
    for (let i = 0; i < entries; i++) await log.append([note(`${folder}/${i}`)]);
  }
  copyFileSync(join(copy, "callgate.db"), join(dir, "callgate.db"));
  await assert.rejects(open(dir), {
    code: "ERR_STATE_ROLLBACK",
    message: /its first 5 entries are not those/,
  });
});

test("a database that is gone, or empty again, is noticed by the checkpoint it left", async (t) => {
  const dir = await madeLog(t);
  rmSync(join(dir, "callgate.db"));
  await assert.rejects(open(dir), { code: "ERR_STATE_ROLLBACK", message: /the database is not/ });
  const other = stateDir(t);
  await (await open(other)).close();
  sql(other, "DELETE FROM head; DELETE FROM entries; DELETE FROM meta");
  await assert.rejects(open(other), { code: "ERR_STATE_ROLLBACK", message: /the database is empty/ });
});

test("a database that goes back under a running log stops it", async (t) => {
  const dir = await madeLog(t);
  await using log = await open(dir);
  await log.append([note("one more")]);
  sql(dir, `DELETE FROM entries WHERE "index" = 4; UPDATE head SET size = 4`);
  await assert.rejects(log.append([note("next")]), { code: "ERR_STATE_ROLLBACK" });
});

test("a head that this log did not sign is not built on", async (t) => {
  const dir = await madeLog(t);
  await using log = await open(dir);
  sql(
    dir,
    `INSERT INTO entries ("index", hashes, bytes) VALUES (4, zeroblob(32), '{}'); UPDATE head SET size = 5`,
  );
  await assert.rejects(log.append([note("next")]), {
    code: "ERR_STATE_CORRUPT",
    message: /not signed by this log/,
  });
});

test("a longer history that does not hold what this process saw is not built on, though its head is signed", async (t) => {
  const dir = await madeLog(t);
  await using log = await open(dir);
  const entries = rawEntries(dir);
  const forged = entries.map(({ call, bytes }, i) => ({
    call,
    bytes: i === 2 ? bytes.replace("policy", "catalog") : bytes,
  }));
  rewrite(dir, [...forged, ...entries.slice(1)], true);
  await assert.rejects(log.append([note("next")]), {
    code: "ERR_STATE_ROLLBACK",
    message: /no longer the same/,
  });
});

test("hashes that do not make up the head another process signed are not built on", async (t) => {
  const dir = await madeLog(t);
  await using log = await open(dir);
  {
    await using other = await open(dir);
    await other.append([note("theirs")]);
  }
  sql(dir, `UPDATE entries SET hashes = zeroblob(32) WHERE "index" = 4`);
  await assert.rejects(log.append([note("next")]), { code: "ERR_STATE_CORRUPT", message: /signed root/ });
});

test("the checkpoint file never goes backwards, and a database without a head writes none", async (t) => {
  const dir = await madeLog(t);
  const path = join(dir, "checkpoint");
  const older = readFileSync(path);
  const oldDatabase = readFileSync(join(dir, "callgate.db"));
  {
    await using log = await open(dir);
    await log.append([note("later")]);
  }
  const newer = readFileSync(path);
  writeFileSync(join(dir, "callgate.db"), oldDatabase);
  using store = openSqliteStore(join(dir, "callgate.db"));
  const verifier = parseVerifierKey(readFileSync(join(dir, "log.pub"), "utf8").trim());
  assert.ok(verifier);
  const file = new CheckpointFile(dir, store, verifier);
  file.flush();
  assert.deepEqual(readFileSync(path), newer);
  writeFileSync(path, "torn");
  file.flush();
  assert.deepEqual(readFileSync(path), older);
});

test("a checkpoint file that cannot be written stops the log", async (t) => {
  const dir = await madeLog(t);
  const log = await open(dir);
  await log.append([note("one")]);
  mkdirSync(join(dir, "checkpoint.new"));
  await assert.rejects(
    async () => {
      // The file trails, so it takes some appends until it is noticed.
      for (let tries = 0; tries < 200; tries++) {
        await log.append([note("more")]);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    { code: "ERR_STATE_UNWRITABLE", message: /checkpoint/ },
  );
  rmSync(join(dir, "checkpoint.new"), { recursive: true });
  await log.append([note("goes on")]);
  await log.close();
});

test("a checkpoint file that is not this log's is damage", async (t) => {
  const dir = await madeLog(t);
  const other = await madeLog(t);
  copyFileSync(join(other, "checkpoint"), join(dir, "checkpoint"));
  await assert.rejects(open(dir), { code: "ERR_STATE_CORRUPT", message: /checkpoint/ });
});

test("a checkpoint file that is missing is written again, and one that is older stays good", async (t) => {
  const dir = await madeLog(t);
  const path = join(dir, "checkpoint");
  const older = readFileSync(path);
  rmSync(path);
  {
    await using log = await open(dir);
    assert.deepEqual(readFileSync(path), older);
    await log.append([note("later")]);
  }
  const newer = readFileSync(path);
  assert.notDeepEqual(newer, older);
  writeFileSync(path, older);
  await using log = await open(dir);
  assert.equal(await log.size(), 5);
});
