import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { openSqliteStore } from "../store/sqlite.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { createKey } from "./key.ts";
import { note, stateDir } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { parseVerifierKey } from "./note.ts";
import { rawEntries, rewrite } from "./verify.fixture.ts";

const open = (dir: string): ReturnType<typeof openLog> => openLog({ stateDir: dir, mode: "inline" });

/** A closed log of `entries` entries beside the first. */
async function madeLog(t: TestContext, entries = 3): Promise<string> {
  const dir = stateDir(t);
  await using log = await open(dir);
  for (let i = 0; i < entries; i++) await log.append([note(`${i}`)]);
  return dir;
}

function sql(dir: string, text: string): void {
  const database = new DatabaseSync(join(dir, "callgate.db"));
  database.exec(text);
  database.close();
}

test("a new state folder is private, and so is everything in it that has to be", async (t) => {
  const dir = await madeLog(t);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  for (const file of ["log.key", "callgate.db"])
    assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600, file);
  assert.deepEqual(readdirSync(dir).sort(), ["callgate.db", "checkpoint", "log.key", "log.pub"]);
  assert.match(
    readFileSync(join(dir, "log.pub"), "utf8"),
    /^callgate\.local\/[0-9a-f]{16}\+[0-9a-f]{8}\+\S+\n$/,
  );
});

for (const bits of [0o040, 0o004, 0o020, 0o010]) {
  test(`a folder or key that others may touch (0${bits.toString(8)}) is refused`, async (t) => {
    const dir = await madeLog(t);
    chmodSync(dir, 0o700 | bits);
    await assert.rejects(open(dir), { code: "ERR_STATE_PERMISSIONS", remedy: `chmod go= ${dir}` });
    chmodSync(dir, 0o700);
    chmodSync(join(dir, "log.key"), 0o600 | bits);
    await assert.rejects(open(dir), { code: "ERR_STATE_PERMISSIONS" });
    chmodSync(join(dir, "log.key"), 0o600);
    await (await open(dir)).close();
  });
}

test("a folder of another user is refused", async (t) => {
  if (process.geteuid?.() !== 0) return t.skip("SKIPPED: only root can give a folder away");
  const dir = await madeLog(t);
  execFileSync("chown", ["65534", dir]);
  await assert.rejects(open(dir), { code: "ERR_STATE_PERMISSIONS", message: /another user/ });
});

test("a newer schema is refused and named", async (t) => {
  const dir = await madeLog(t);
  sql(dir, "PRAGMA user_version = 99");
  await assert.rejects(open(dir), { code: "ERR_STATE_NEWER", message: /schema 99/ });
});

test("a database that is none, is cut, or lost its rows is corrupt", async (t) => {
  const dir = await madeLog(t, 200);
  const database = join(dir, "callgate.db");
  const whole = readFileSync(database);
  const damage: Readonly<Record<string, () => void>> = {
    "no database": () =>
      writeFileSync(database, "this is not a database, whatever its name says".repeat(100)),
    "cut in half": () => truncateSync(database, 8192),
    "no head": () => sql(dir, "DELETE FROM head"),
    "no owner": () => sql(dir, "DELETE FROM meta"),
    "a hash is gone": () => sql(dir, `UPDATE entries SET hashes = x'' WHERE "index" = 127`),
    "a hash is changed": () => sql(dir, `UPDATE entries SET hashes = zeroblob(256) WHERE "index" = 127`),
    "an unsigned tail": () =>
      sql(dir, `INSERT INTO entries ("index", hashes, bytes) VALUES (201, zeroblob(32), '{}')`),
    "a head whose note is none": () => sql(dir, "UPDATE head SET note = 'none'"),
    "a head whose note is an older one's": () =>
      sql(dir, `UPDATE head SET note = replace(note, char(10) || '201', char(10) || '200')`),
    "an unsigned head": () => sql(dir, "UPDATE head SET size = 128"),
  };
  for (const [what, apply] of Object.entries(damage)) {
    apply();
    await assert.rejects(
      open(dir),
      { code: what === "no head" ? "ERR_STATE_ROLLBACK" : "ERR_STATE_CORRUPT" },
      what,
    );
    for (const side of ["-wal", "-shm"]) rmSync(database + side, { force: true });
    writeFileSync(database, whole);
  }
  await (await open(dir)).close();
});

test("a log without its key does not start, and makes no new one", async (t) => {
  const dir = await madeLog(t);
  rmSync(join(dir, "log.key"));
  await assert.rejects(open(dir), { code: "ERR_KEY_MISSING" });
  assert.ok(!existsSync(join(dir, "log.key")));
  // Nor where only the checkpoint is left.
  rmSync(join(dir, "callgate.db"));
  await assert.rejects(open(dir), { code: "ERR_KEY_MISSING" });
});

test("another key than the log's is refused", async (t) => {
  const dir = await madeLog(t);
  const other = stateDir(t);
  createKey(other);
  copyFileSync(join(other, "log.key"), join(dir, "log.key"));
  await assert.rejects(open(dir), { code: "ERR_KEY_INVALID", message: /is not the key of this record/ });
});

test("a key file that is no key is refused, and its contents are in no part of the error", async (t) => {
  const dir = await madeLog(t);
  const path = join(dir, "log.key");
  const secret = readFileSync(path, "utf8").split("\n")[1] ?? "";
  for (const text of ["", `-----BEGIN PRIVATE KEY-----\n${secret}XX\n-----END PRIVATE KEY-----\n`, secret]) {
    writeFileSync(path, text);
    const fault: unknown = await open(dir).catch((thrown: unknown) => thrown);
    assert.equal((fault as { code?: unknown }).code, "ERR_KEY_INVALID");
    assert.ok(!inspect(fault, { depth: 9 }).includes(secret));
  }
});

test("a key of another kind starts no log", async (t) => {
  const dir = stateDir(t);
  mkdirSync(dir, { mode: 0o700 });
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(join(dir, "log.key"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  await assert.rejects(open(dir), { code: "ERR_KEY_INVALID", message: /not an Ed25519/ });
  assert.ok(!existsSync(join(dir, "callgate.db")));
});

test("an open log holds no private key that can be read", async (t) => {
  const dir = stateDir(t);
  await using log = await open(dir);
  const secret = readFileSync(join(dir, "log.key"), "utf8").split("\n")[1] ?? "missing";
  assert.ok(!inspect(log, { depth: 20, showHidden: true }).includes(secret));
});

test("createKey makes one key and never another over it", async (t) => {
  const dir = stateDir(t);
  createKey(dir);
  const first = readFileSync(join(dir, "log.key"), "utf8");
  createKey(dir);
  assert.equal(readFileSync(join(dir, "log.key"), "utf8"), first);
  assert.match(first, /^-----BEGIN PRIVATE KEY-----\n/);
  assert.deepEqual(readdirSync(dir), ["log.key"]);
});

test("a file where the folder should be is a folder that cannot be written", async (t) => {
  const dir = stateDir(t);
  writeFileSync(dir, "");
  await assert.rejects(open(dir), { code: "ERR_STATE_UNWRITABLE" });
  await assert.rejects(open(join(dir, "below")), { code: "ERR_STATE_UNWRITABLE", message: /ENOTDIR/ });
});

/** Runs this repository's log in a mount namespace of its own. */
function inNamespace(setup: string, dir: string, script: string): string {
  const program = `
    import { openLog } from ${JSON.stringify(join(import.meta.dirname, "log.ts"))};
    import { note } from ${JSON.stringify(join(import.meta.dirname, "log.fixture.ts"))};
    const stateDir = ${JSON.stringify(dir)};
    const told = (work) => work.then(() => "done", (fault) => fault.code);
    ${script}`;
  const node = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    "--input-type=module-typescript",
    "-e",
    program,
  ];
  const command = `${setup} && exec "$@"`;
  return execFileSync(
    "unshare",
    ["--user", "--map-root-user", "--mount", "sh", "-c", command, "sh", ...node],
    {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    },
  ).trim();
}

for (const mode of ["inline", "worker"]) {
  test(`${mode}: a full disk refuses the append with the code for it; the log verifies and goes on`, async (t) => {
    const dir = stateDir(t);
    mkdirSync(dir, { mode: 0o700 });
    const told = inNamespace(
      `mount -t tmpfs -o size=2m,mode=700 none ${dir}`,
      dir,
      `const log = await openLog({ stateDir, mode: "${mode}" });
       const { verifyLog } = await import(${JSON.stringify(join(import.meta.dirname, "verify.ts"))});
       const big = { ...note("big"), payloads: { input: Buffer.alloc(4_000_000, "x") } };
       const first = await told(log.append([note("small")]));
       const second = await told(log.append([note("with it"), big], { keepPayloads: true }));
       const third = await told(log.append([note("small again")]));
       // The checkpoint file may find no room either, and closing says so.
       await told(log.close());
       const { size, problems } = verifyLog(stateDir, log.verifierKey);
       console.log(first, second, third, size, problems.length);`,
    );
    assert.equal(told, "done ERR_STATE_UNWRITABLE done 3 0");
  });
}

test("a folder on a read-only disk cannot be opened for writing", async (t) => {
  const dir = await madeLog(t);
  const told = inNamespace(
    `mount --bind ${dirname(dir)} ${dirname(dir)} && mount -o remount,bind,ro ${dirname(dir)}`,
    dir,
    `console.log(await told(openLog({ stateDir, mode: "inline" })), await told(openLog({ stateDir: stateDir + "2", mode: "inline" })));`,
  );
  assert.equal(told, "ERR_STATE_UNWRITABLE ERR_STATE_UNWRITABLE");
});

test("a folder on a read-only disk still verifies", async (t) => {
  const dir = await madeLog(t);
  const told = inNamespace(
    `mount --bind ${dirname(dir)} ${dirname(dir)} && mount -o remount,bind,ro ${dirname(dir)}`,
    dir,
    `const { verifyLog } = await import(${JSON.stringify(join(import.meta.dirname, "verify.ts"))});
     const { readFileSync } = await import("node:fs");
     const found = verifyLog(stateDir, readFileSync(stateDir + "/log.pub", "utf8"));
     console.log(found.size, found.problems.length);`,
  );
  assert.equal(told, "4 0");
});

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

test("the public key's file is written again where it is missing or another", async (t) => {
  const dir = await madeLog(t);
  const path = join(dir, "log.pub");
  const line = readFileSync(path, "utf8");
  for (const change of [() => rmSync(path), () => writeFileSync(path, "other")]) {
    change();
    await (await open(dir)).close();
    assert.equal(readFileSync(path, "utf8"), line);
  }
});
