import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
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
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { createKey } from "./key.ts";
import { note, stateDir } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { tamper as sql } from "./verify.fixture.ts";

const open = (dir: string): ReturnType<typeof openLog> => openLog({ stateDir: dir, mode: "inline" });

/** A closed log of `entries` entries beside the first. */
async function madeLog(t: TestContext, entries = 3): Promise<string> {
  const dir = stateDir(t);
  await using log = await open(dir);
  for (let i = 0; i < entries; i++) await log.append([note(`${i}`)]);
  return dir;
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
      // The filler is what somebody frees: without room the checkpoint cannot be written, and the log waits for it.
      `mount -t tmpfs -o size=2m,mode=700 none ${dir} && head -c 65536 /dev/zero > ${dir}/filler`,
      dir,
      `const { rmSync } = await import("node:fs");
       const log = await openLog({ stateDir, mode: "${mode}" });
       const { verifyLog } = await import(${JSON.stringify(join(import.meta.dirname, "verify.ts"))});
       const big = { ...note("big"), payloads: { input: Buffer.alloc(4_000_000, "x") } };
       const first = await told(log.append([note("small")]));
       // The database's own, and not the checkpoint's.
       const second = await log.append([note("with it"), big], { keepPayloads: true })
         .then(() => "done", ({ code, message }) => message.includes("callgate.db") ? code : message);
       rmSync(stateDir + "/filler");
       const third = await told(log.append([note("small again")]));
       const closed = await told(log.close());
       const { size, problems } = verifyLog(stateDir, log.verifierKey);
       console.log(first, second, third, closed, size, problems.length);`,
    );
    assert.equal(told, "done ERR_STATE_UNWRITABLE done done 3 0");
  });
}

test("a checkpoint that cannot be written holds the log until it can", async (t) => {
  const dir = stateDir(t);
  mkdirSync(dir, { mode: 0o700 });
  const told = inNamespace(
    `mount -t tmpfs -o size=2m,mode=700 none ${dir}`,
    dir,
    `const { execFileSync } = await import("node:child_process");
     const log = await openLog({ stateDir, mode: "inline" });
     const file = stateDir + "/checkpoint";
     // A file that something is mounted on cannot be replaced (rename(2), EBUSY).
     execFileSync("mount", ["--bind", file, file]);
     const first = await told(log.append([note("a")]));
     await new Promise((resolve) => setTimeout(resolve, 500));
     const second = await told(log.append([note("b")]));
     execFileSync("umount", [file]);
     const third = await told(log.append([note("c")]));
     console.log(first, second, third, await told(log.close()));`,
  );
  assert.equal(told, "done ERR_STATE_UNWRITABLE done done");
});

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
