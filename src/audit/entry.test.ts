import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { newCallId } from "../contract/ids.ts";
import { Masker } from "../contract/mask.ts";
import { ENTRY_BYTES_MAX, entryBytes, type LogRecord } from "./entry.ts";
import { denied, intent, outcome, vectors } from "./log.fixture.ts";
import { parseStrictObject } from "./strict-json.ts";

const STAMP = { origin: "callgate.local/x", timeMs: 1_790_000_000_000, node: "host", boot: "boot" };
const NOTHING = new Masker([]);
const bytesOf = (record: LogRecord, masker: Masker = NOTHING): string =>
  entryBytes(record, STAMP, {}, masker);

test("outside vectors: the producer's JSON is RFC 8785's", (t) => {
  const dir = vectors("jcs");
  if (!existsSync(dir)) return t.skip(`SKIPPED: no outside vectors at ${dir}`);
  const names = readdirSync(join(dir, "input"));
  assert.ok(names.length >= 6, `only ${names.length} vectors`);
  for (const name of names) {
    const input: unknown = JSON.parse(readFileSync(join(dir, "input", name), "utf8"));
    const output = readFileSync(join(dir, "output", name), "utf8");
    const hex = readFileSync(join(dir, "outhex", name.replace(".json", ".txt")), "utf8").replaceAll(
      /\s/g,
      "",
    );
    assert.equal(canonicalize(input), output, name);
    assert.equal(Buffer.from(output).toString("hex"), hex, name);
  }
});

test("an entry is canonical: sorted, without spaces, and canonicalising it again changes nothing", () => {
  const bytes = bytesOf(intent());
  assert.equal(canonicalize(JSON.parse(bytes)), bytes);
  assert.match(bytes, /^\{"boot":"boot","call":"/);
});

test("an entry carries its stamp, and a record cannot take its place", () => {
  const record = { ...intent(), origin: "elsewhere", timeMs: 1, version: 9, node: "n", boot: "b" };
  const entry = JSON.parse(bytesOf(record));
  assert.deepEqual(
    {
      origin: entry.origin,
      timeMs: entry.timeMs,
      version: entry.version,
      node: entry.node,
      boot: entry.boot,
    },
    { ...STAMP, version: 1 },
  );
});

test("fractions of milliseconds are kept as whole microseconds", () => {
  const entry = JSON.parse(bytesOf(outcome(newCallId())));
  assert.deepEqual(entry.usage, { wallUs: 12_250, cpuUs: 4_125, memoryBytesMax: 9_437_184 });
  assert.equal(entry.startedUs, 1_790_000_000_000_250);
  assert.equal(entry.endedUs, 1_790_000_000_012_500);
  assert.equal(entry.startedMs, undefined);
});

test("what was not measured stays null", () => {
  const record = {
    ...outcome(newCallId()),
    startedMs: null,
    usage: { wallMs: 1, cpuMs: null, memoryBytesMax: null },
  };
  const entry = JSON.parse(bytesOf(record));
  assert.equal(entry.startedUs, null);
  assert.deepEqual(entry.usage, { wallUs: 1000, cpuUs: null, memoryBytesMax: null });
  assert.equal(JSON.parse(bytesOf({ ...record, usage: null })).usage, null);
});

test("a number that is no exact integer is refused and named", () => {
  for (const depth of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    const record = { ...intent(), context: { environment: { name: "e", protected: false }, depth } };
    assert.throws(() => bytesOf(record), { code: "ERR_INTERNAL", message: /`\/context\/depth`/ });
  }
});

test("a fractional claim is kept as text and keeps nobody out", () => {
  const caller = { ...intent().caller, claims: { ratio: 0.5, big: 1e300, whole: 7, yes: true } };
  const { claims } = JSON.parse(bytesOf({ ...intent(), caller })).caller;
  assert.deepEqual(claims, { ratio: "0.5", big: "1e+300", whole: 7, yes: true });
});

test("lone surrogates and __proto__ keys do not stop a record", () => {
  const claims = JSON.parse('{"__proto__":"x","a":"\\ud800"}');
  const entry = bytesOf({ ...intent(), caller: { ...intent().caller, claims } });
  assert.ok(entry.includes('"__proto__":"x"'));
  assert.ok(entry.includes('"a":"\ufffd"'));
});

test("any record at all becomes an entry that fits and reads back exactly, or a fault that says so", () => {
  const text = fc.string({ unit: "binary", maxLength: 3000 });
  const record = fc.record({
    reasons: fc.array(text, { maxLength: 60 }),
    message: text,
    claims: fc.dictionary(
      fc.string({ maxLength: 20 }),
      fc.oneof(fc.string({ maxLength: 400 }), fc.double(), fc.boolean()),
    ),
  });
  fc.assert(
    fc.property(record, ({ reasons, message, claims }) => {
      const base = denied();
      const decision = { ...base.decision, reasons };
      const bytes = bytesOf({ ...base, decision, message, caller: { ...base.caller, claims } });
      assert.ok(Buffer.byteLength(bytes) <= ENTRY_BYTES_MAX);
      assert.ok(parseStrictObject(bytes) !== undefined);
      assert.equal(canonicalize(JSON.parse(bytes)), bytes);
    }),
    { numRuns: 60 },
  );
});

test("too many reasons are shortened, and the entry says how many there were", () => {
  const decision = {
    ...denied().decision,
    reasons: Array.from({ length: 5000 }, (_, i) => `reason ${i} ${"x".repeat(90)}`),
  };
  const bytes = bytesOf({ ...denied(), decision });
  const entry = JSON.parse(bytes);
  assert.ok(Buffer.byteLength(bytes) <= ENTRY_BYTES_MAX);
  assert.ok(entry.shortened.places.includes("/decision/reasons: 5000 items"));
  assert.equal(entry.decision.reasons[0], `reason 0 ${"x".repeat(90)}`);
});

test("a long text is shortened with a mark, between characters", () => {
  const entry = JSON.parse(bytesOf({ ...denied(), message: `xx${"a\u{1f600}".repeat(40_000)}` }));
  assert.match(entry.message, /… \[shortened\]$/);
  assert.ok(entry.message.isWellFormed());
  assert.deepEqual(entry.shortened, { count: 1, places: ["/message: 120002 characters"] });
});

test("what identifies a call is never shortened: a record that cannot fit is refused", () => {
  const caller = { ...intent().caller, id: "x".repeat(70_000) };
  assert.throws(() => bytesOf({ ...intent(), caller }), {
    code: "ERR_INTERNAL",
    message: /larger than 65535 bytes/,
  });
});

test("an entry of exactly the limit is whole, one byte more is shortened", () => {
  const lengthOf = (message: string): number => Buffer.byteLength(bytesOf({ ...denied(), message }));
  const room = ENTRY_BYTES_MAX - lengthOf("");
  const full = JSON.parse(bytesOf({ ...denied(), message: "x".repeat(room) }));
  assert.equal(full.shortened, undefined);
  assert.equal(JSON.parse(bytesOf({ ...denied(), message: "x".repeat(room + 1) })).shortened.count, 1);
});

test("known secrets are masked in every text and key of an entry", () => {
  const masker = new Masker(["hunter2-secret"]);
  const record = {
    ...denied(),
    message: "used hunter2-secret twice: hunter2-secret",
    caller: { ...denied().caller, claims: { "hunter2-secret": "x", b: "aHVudGVyMi1zZWNyZXQ=" } },
  };
  const bytes = bytesOf(record, masker);
  assert.ok(!bytes.includes("hunter2"));
  assert.ok(!bytes.includes("aHVudGVyMi1zZWNyZX"));
  assert.ok(bytes.includes("used [masked] twice: [masked]"));
});

test("two keys that would be masked to one are refused and not lost", () => {
  const masker = new Masker(["secret-one", "secret-two"]);
  const caller = { ...denied().caller, claims: { "secret-one": "x", "secret-two": "y" } };
  assert.throws(() => bytesOf({ ...denied(), caller }, masker), { code: "ERR_INTERNAL" });
});
