import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { newCallId } from "../contract/ids.ts";
import { exportLog } from "./export.ts";
import { intent, note, outcome } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { formatBundle, parseBundle, tilePath } from "./tiles.ts";
import { openRaw, type RawEntry, rawEntries, rewrite, tamper } from "./verify.fixture.ts";
import { type LogVerification, verifyLog } from "./verify.ts";

/** One honest log for all: 600 entries, an older checkpoint at 300; and a short one that kept its payloads. */
interface Made {
  readonly base: string;
  readonly dir: string;
  readonly key: string;
  readonly payloads: { readonly dir: string; readonly key: string };
  readonly older: string;
  readonly size: number;
}

let made: Made;
let copies = 0;

before(async () => {
  const base = mkdtempSync(join(tmpdir(), "callgate-verify-"));
  const dir = join(base, "state");
  await using log = await openLog({ stateDir: dir, mode: "inline" });
  const grow = async (to: number): Promise<void> => {
    while ((await log.size()) < to) {
      const call = newCallId();
      await log.append([{ record: intent(call) }, { record: outcome(call) }, note("policy")]);
    }
  };
  await grow(300);
  const older = await log.checkpoint();
  await grow(600);
  const kept = join(base, "payloads");
  await using other = await openLog({ stateDir: kept, mode: "inline", keepPayloads: true });
  for (let i = 0; i < 3; i++) {
    await other.append([
      { record: intent(), payloads: { input: Buffer.from(`input ${i}`) } },
      note("opened"),
    ]);
  }
  const payloads = { dir: kept, key: other.verifierKey };
  made = { base, dir, key: log.verifierKey, payloads, older, size: await log.size() };
});

after(() => rmSync(made.base, { recursive: true }));

function copyOf(dir: string): string {
  const copy = join(made.base, `copy-${copies++}`);
  cpSync(dir, copy, { recursive: true });
  chmodSync(copy, 0o700);
  return copy;
}

/** What verifying finds in a copy after `change`. */
function found(change: (dir: string) => void, checkpoint?: string): LogVerification {
  const dir = copyOf(made.dir);
  try {
    change(dir);
    return verifyLog(dir, made.key, checkpoint === undefined ? {} : { checkpoint });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const firstProblem = ({ problems }: LogVerification): number | null | undefined => problems[0]?.index;

/** Changes of a history, each with the first entry that is no longer what it was. */
const place = fc.nat().map((seed) => seed);
const edits: Readonly<
  Record<string, (entries: readonly RawEntry[], seed: number) => readonly [readonly RawEntry[], number]>
> = {
  change: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 1));
    const forged = entries.map((entry, i) =>
      i === at ? { ...entry, bytes: entry.bytes.replace(/"timeMs":1/, '"timeMs":2') } : entry,
    );
    return [forged, at];
  },
  drop: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 1));
    return [entries.toSpliced(at, 1), at];
  },
  insert: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 1));
    const [first] = entries;
    const forged = { call: null, bytes: (first?.bytes ?? "").replace("genesis", "policy") };
    return [entries.toSpliced(at, 0, forged), at];
  },
  swap: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 2));
    const [one, two] = [entries[at], entries[at + 1]];
    return one && two ? [entries.with(at, two).with(at + 1, one), at] : [entries, at];
  },
  truncate: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 1));
    return [entries.slice(0, at), at];
  },
  fork: (entries, seed) => {
    const at = 1 + (seed % (entries.length - 1));
    const other = entries
      .slice(at)
      .map((entry) => ({ ...entry, bytes: entry.bytes.replace(/"timeMs":1/, '"timeMs":2') }));
    return [[...entries.slice(0, at), ...other], at];
  },
};

test("an honest log verifies, with an older checkpoint, as a copy and as an export", () => {
  assert.deepEqual(found(() => {}, made.older).problems, []);
  const target = join(made.base, "honest-export");
  exportLog(made.dir, target);
  const verified = verifyLog(target, made.key, { checkpoint: made.older });
  assert.deepEqual(verified.problems, []);
  assert.deepEqual(verified.root, found(() => {}).root);
  assert.equal(verified.size, made.size);
});

for (const [name, edit] of Object.entries(edits)) {
  test(`${name}: found in the database, whatever entry it is and though every hash was made to fit`, () => {
    const entries = rawEntries(made.dir);
    fc.assert(
      fc.property(place, (seed) => {
        const [forged] = edit(entries, seed);
        assert.notEqual(found((dir) => rewrite(dir, forged, false)).problems.length, 0);
        // The signed head alone has to do, where no checkpoint lies beside it.
        const alone = found((dir) => {
          rewrite(dir, forged, false);
          rmSync(join(dir, "checkpoint"));
        });
        assert.notEqual(alone.problems.length, 0);
      }),
      { numRuns: 12 },
    );
  });

  test(`${name}: found with an older checkpoint, though the key was stolen and the head signed again`, () => {
    const entries = rawEntries(made.dir);
    fc.assert(
      fc.property(place, (seed) => {
        const [forged, at] = edit(entries, seed);
        const change = (dir: string): void => {
          rewrite(dir, forged, true);
          rmSync(join(dir, "checkpoint"));
        };
        const { problems } = found(change, made.older);
        // An older checkpoint covers what it signed; what came after it nobody kept a promise about.
        if (at < 301) assert.notEqual(problems.length, 0, `changed at ${at}`);
        else if (name !== "truncate")
          assert.deepEqual(
            problems.filter(({ message }) => message.includes("older")),
            [],
          );
        // The checkpoint file beside the database is newer and finds every one.
        assert.notEqual(found((dir) => rewrite(dir, forged, true)).problems.length, 0, `changed at ${at}`);
      }),
      { numRuns: 8 },
    );
  });
}

test("the first bad entry is named where the hashes were left as they were", () => {
  const numbers = fc.integer({ min: 1, max: 599 });
  fc.assert(
    fc.property(numbers, (at) => {
      const changed = found((dir) =>
        tamper(
          dir,
          `UPDATE entries SET bytes = replace(bytes, '"version":1', '"version": 1') WHERE "index" = ${at}`,
        ),
      );
      assert.equal(firstProblem(changed), at);
      assert.equal(changed.problems.length, 1);
      assert.equal(
        firstProblem(found((dir) => tamper(dir, `DELETE FROM entries WHERE "index" = ${at}`))),
        at,
      );
      assert.equal(
        firstProblem(found((dir) => tamper(dir, `DELETE FROM entries WHERE "index" >= ${at}`))),
        at,
      );
      const swap = `UPDATE entries SET bytes = (SELECT bytes FROM entries e WHERE e."index" = 0) WHERE "index" = ${at}`;
      assert.equal(firstProblem(found((dir) => tamper(dir, swap))), at);
    }),
    { numRuns: 10 },
  );
});

test("a hash that was changed is found, also where nobody hashed the entry again", () => {
  const changed = found((dir) => {
    const database = openRaw(dir);
    const row = database.prepare(`SELECT hashes FROM entries WHERE "index" = 255`).get();
    const hashes = Buffer.from(row?.["hashes"] as Uint8Array);
    hashes[32 * 3] = (hashes[32 * 3] ?? 0) ^ 1;
    database.prepare(`UPDATE entries SET hashes = ? WHERE "index" = 255`).run(hashes);
    database.close();
  });
  assert.deepEqual(changed.problems, [
    { index: 248, message: "the hash kept of entries 248 to 255 is not theirs" },
  ]);
});

test("entries beyond the signed head are found", () => {
  const extra = `INSERT INTO entries SELECT "index" + 600, hashes, call, bytes FROM entries WHERE "index" BETWEEN 1 AND 3`;
  const { problems } = found((dir) => tamper(dir, extra));
  assert.ok(problems.some(({ message }) => /were never signed/.test(message)));
});

test("another key, a missing head and a forged head are found", () => {
  const forgedHead = found((dir) =>
    tamper(dir, "UPDATE head SET note = replace(note, char(10) || size, char(10) || (size - 1))"),
  );
  assert.match(forgedHead.problems[0]?.message ?? "", /tree head/);
  assert.match(found((dir) => tamper(dir, "DELETE FROM head")).problems[0]?.message ?? "", /tree head/);
  const stranger = "callgate.local/x";
  assert.throws(() => verifyLog(made.dir, stranger), { code: "ERR_KEY_INVALID" });
  const sumdb = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
  assert.notEqual(verifyLog(made.dir, sumdb).problems.length, 0);
  assert.notEqual(verifyLog(made.dir, made.key, { checkpoint: "not a note" }).problems.length, 0);
});

test("an entry that repeats a key or is of another log is found though it was hashed so", () => {
  const entries = rawEntries(made.dir);
  for (const forge of [
    (bytes: string): string => bytes.replace('"version":1', '"version":1,"version":1'),
    (bytes: string): string => bytes.replace('"origin":"callgate', '"origin":"other'),
    (bytes: string): string => bytes.replace('"version":1', '"version":2'),
    (bytes: string): string => bytes.replace('"version":1', `"version":1,"x":"${"x".repeat(65_536)}"`),
  ]) {
    const forged = entries.map((entry, i) => (i === 5 ? { ...entry, bytes: forge(entry.bytes) } : entry));
    const change = (dir: string): void => {
      rewrite(dir, forged, true);
      rmSync(join(dir, "checkpoint"));
    };
    assert.equal(firstProblem(found(change)), 5);
  }
  const strange = entries.map((entry, i) =>
    i === 0 ? { ...entry, bytes: entry.bytes.replace("genesis", "policy") } : entry,
  );
  const change = (dir: string): void => {
    rewrite(dir, strange, true);
    rmSync(join(dir, "checkpoint"));
  };
  assert.deepEqual(found(change).problems, [{ index: 0, message: "the first entry does not name this key" }]);
});

test("a payload that was changed, moved, forged or silently deleted is found", () => {
  const { dir, key } = made.payloads;
  assert.deepEqual(verifyLog(dir, key).problems, []);
  const of3 = "WHERE place / 16 = 3";
  const changes: Readonly<Record<string, readonly [sql: string, index: number, message: RegExp]>> = {
    changed: [`UPDATE payloads SET bytes = x'00' ${of3}`, 3, /not the one committed to/],
    "its salt changed": [`UPDATE payloads SET salt = zeroblob(32) ${of3}`, 3, /not the one committed to/],
    moved: [`UPDATE payloads SET place = 16 * 4 ${of3}`, 3, /deleted and no entry says so/],
    "beyond the end": [`UPDATE payloads SET place = 16 * 9999 ${of3}`, 3, /deleted and no entry says so/],
    "one too many, beyond the end": [
      `INSERT INTO payloads SELECT 16 * 7, name, commitment, salt, bytes FROM payloads ${of3}`,
      7,
      /of no entry/,
    ],
    "one too many, before the start": [
      `INSERT INTO payloads SELECT -16, name, commitment, salt, bytes FROM payloads ${of3}`,
      -1,
      /of no entry/,
    ],
    "one too many, at an entry": [
      `INSERT INTO payloads SELECT 16 * 4, name, commitment, salt, bytes FROM payloads ${of3}`,
      4,
      /not the one committed to/,
    ],
    "its commitment forged": [
      `UPDATE payloads SET bytes = NULL, commitment = zeroblob(32) ${of3}`,
      3,
      /not the one committed to/,
    ],
    deleted: [`DELETE FROM payloads ${of3}`, 3, /deleted and no entry says so/],
  };
  for (const [what, [sql, index, message]] of Object.entries(changes)) {
    const copy = copyOf(dir);
    tamper(copy, sql);
    const [first] = verifyLog(copy, key).problems;
    assert.equal(first?.index, index, what);
    assert.match(first.message, message, what);
  }
});

test("an export's file that is longer or shorter than it should be is found", () => {
  const target = join(made.base, "lengths");
  exportLog(made.dir, target);
  const width = made.size - 512;
  for (const file of [
    tilePath("entries", 0),
    tilePath("entries", 2, width),
    tilePath(0, 0),
    tilePath(0, 2, width),
  ]) {
    const path = join(target, file);
    const whole = readFileSync(path);
    const entries = parseBundle(whole)?.slice(0, -1).map(String);
    const shorter = entries === undefined ? whole.subarray(0, -32) : formatBundle(entries);
    for (const other of [
      Buffer.concat([whole, Buffer.alloc(1)]),
      Buffer.concat([whole, Buffer.alloc(32)]),
      shorter,
    ]) {
      writeFileSync(path, other);
      const [first] = verifyLog(target, made.key).problems;
      const start = file.includes("/2") || file.includes("002") ? 512 : 0;
      assert.equal(first?.index, start, file);
      if (file.includes("entries")) assert.match(first.message, /is not a bundle of/);
    }
    writeFileSync(path, whole);
  }
});

test("any byte of an export that is changed, and any file that is missing, is found", () => {
  const target = join(made.base, "export");
  exportLog(made.dir, target);
  const width = made.size - 512;
  const files = [
    tilePath("entries", 0),
    tilePath("entries", 2, width),
    tilePath(0, 1),
    tilePath(0, 2, width),
    tilePath(1, 0, 2),
    "checkpoint",
  ];
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.nat(), fc.integer({ min: 1, max: 255 }), (file, seed, flip) => {
      const path = join(target, file);
      const whole = readFileSync(path);
      const changed = Buffer.from(whole);
      changed[seed % whole.length] = (changed[seed % whole.length] ?? 0) ^ flip;
      writeFileSync(path, changed);
      assert.notEqual(verifyLog(target, made.key).problems.length, 0, `${file} at ${seed % whole.length}`);
      rmSync(path);
      if (file !== "checkpoint")
        assert.notEqual(verifyLog(target, made.key).problems.length, 0, `${file} is missing`);
      else assert.throws(() => verifyLog(target, made.key), { code: "ERR_NOT_FOUND" });
      writeFileSync(path, whole);
    }),
    { numRuns: 40 },
  );
  assert.deepEqual(verifyLog(target, made.key).problems, []);
});

test("an export has the files of C2SP tlog-tiles and none of the payloads", () => {
  const target = join(made.base, "tiles");
  const { size, checkpoint } = exportLog(made.dir, target);
  assert.equal(size, made.size);
  assert.equal(readFileSync(join(target, "checkpoint"), "utf8"), checkpoint);
  assert.equal(readFileSync(join(target, "tile/0/000")).length, 8192);
  assert.equal(readFileSync(join(target, "tile/1/000.p/2")).length, 64);
  const bundle = parseBundle(readFileSync(join(target, "tile/entries/001")));
  assert.equal(bundle?.length, 256);
  assert.equal(bundle[0]?.toString(), rawEntries(made.dir)[256]?.bytes);
  assert.throws(() => exportLog(made.dir, target), { code: "ERR_USAGE" });
});

test("tile paths are those of the specification's example", () => {
  assert.equal(tilePath(0, 1_234_067), "tile/0/x001/x234/067");
  assert.equal(tilePath(2, 0, 1), "tile/2/000.p/1");
  assert.equal(tilePath("entries", 5), "tile/entries/005");
});

test("a folder that holds no log is said to hold none", () => {
  const empty = join(made.base, "empty");
  mkdirSync(empty);
  assert.throws(() => verifyLog(empty, made.key), { code: "ERR_NOT_FOUND" });
});
