import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { newCallId } from "../contract/ids.ts";
import { MEMO_ENTRIES_MAX } from "../store/store.ts";
import { opensCommitment } from "./commitment.ts";
import { intent, note, outcome, spend, stateDir } from "./log.fixture.ts";
import { type AuditLog, openLog, SCAN_ENTRIES_MAX } from "./log.ts";
import { rootAt } from "./merkle.ts";
import { verifyConsistency } from "./merkle-verify.ts";
import { verifyPayload, verifyReceipt } from "./receipt.ts";
import { verifyLog } from "./verify.ts";

const MODES = ["inline", "worker"] as const;
const kinds = async (log: AuditLog): Promise<readonly unknown[]> =>
  (await log.scan()).map(({ entry }) => entry["kind"]);

for (const mode of MODES) {
  test(`${mode}: what is appended together stands together and is there after opening again`, async (t) => {
    const dir = stateDir(t);
    const call = newCallId();
    {
      await using log = await openLog({ stateDir: dir, mode });
      const appended = await log.append([{ record: intent(call) }, note("opened")]);
      assert.deepEqual(
        appended.map(({ index }) => index),
        [1, 2],
      );
      const [last] = await log.append([{ record: outcome(call) }]);
      assert.equal(last?.index, 3);
      assert.equal(last.receipt, null);
    }
    await using log = await openLog({ stateDir: dir, mode });
    assert.deepEqual(await kinds(log), ["genesis", "intent", "policy", "outcome"]);
    assert.equal(await log.size(), 4);
    assert.deepEqual(
      (await log.entriesOfCall(call)).map(({ index }) => index),
      [1, 3],
    );
    assert.equal(await log.lastCall(), call);
    assert.deepEqual(verifyLog(dir, log.verifierKey).problems, []);
  });

  test(`${mode}: receipts from the commit and receipts read later verify offline`, async (t) => {
    await using log = await openLog({ stateDir: stateDir(t), mode });
    for (let round = 0; round < 12; round++) {
      const drafts = Array.from({ length: round + 1 }, (_, i) => note(`${round}/${i}`));
      for (const { index, bytes, receipt } of await log.append(drafts, { receipts: true })) {
        const verified = verifyReceipt(JSON.stringify(receipt), log.verifierKey);
        assert.equal(verified.index, index);
        assert.equal(receipt?.entry, bytes);
      }
    }
    const size = await log.size();
    for (let index = 0; index < size; index++) {
      const verified = verifyReceipt(JSON.stringify(await log.receipt(index)), log.verifierKey);
      assert.deepEqual([verified.index, verified.size], [index, size]);
    }
    await assert.rejects(log.receipt(size), { code: "ERR_NOT_FOUND" });
  });

  test(`${mode}: what arrives together shares commits`, async (t) => {
    await using log = await openLog({ stateDir: stateDir(t), mode });
    const appends = Array.from({ length: 400 }, (_, i) => log.append([note(`${i}`)], { receipts: true }));
    const heads = (await Promise.all(appends)).map(([appended]) => {
      const receipt = appended?.receipt;
      return verifyReceipt(JSON.stringify(receipt), log.verifierKey).size;
    });
    assert.ok(new Set(heads).size < 40, `${new Set(heads).size} commits for 400 appends`);
    assert.equal(await log.size(), 401);
  });

  test(`${mode}: a refused spend appends nothing and does not hinder what shares its commit`, async (t) => {
    await using log = await openLog({ stateDir: stateDir(t), mode });
    const results = await Promise.allSettled([
      log.append([note("first")], { spend: [spend("token", 2)] }),
      log.append([note("twice")], { spend: [spend("token", 2), spend("token", 2)] }),
      log.append([note("second")], { spend: [spend("token", 2)] }),
      log.append([note("third"), note("with it")], { spend: [spend("token", 2)] }),
      log.append([note("expired")], { spend: [spend("other", 9, Date.now() - 1)] }),
      log.append([note("free")]),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled", "rejected", "rejected", "fulfilled"],
    );
    for (const result of results) {
      if (result.status === "rejected") assert.equal(result.reason.code, "ERR_CAPABILITY");
    }
    const summaries = (await log.scan({ from: 1 })).map(({ entry }) => entry["summary"]);
    assert.deepEqual(summaries, ["first", "second", "free"]);
  });

  test(`${mode}: of two spends none is taken where one is refused`, async (t) => {
    await using log = await openLog({ stateDir: stateDir(t), mode });
    await log.append([note("uses b up")], { spend: [spend("b", 1)] });
    await assert.rejects(log.append([note("both")], { spend: [spend("a", 1), spend("b", 1)] }), {
      code: "ERR_CAPABILITY",
    });
    await log.append([note("a is whole")], { spend: [spend("a", 1)] });
    await assert.rejects(log.append([note("a")], { spend: [spend("a", 1)] }), {
      message: "the capability `a` is used up",
    });
    await assert.rejects(log.append([note("a")], { spend: [spend("c", Number.NaN)] }), {
      code: "ERR_CAPABILITY",
    });
  });

  test(`${mode}: what is under way when the log closes is finished, and nothing comes after`, async (t) => {
    const dir = stateDir(t);
    const log = await openLog({ stateDir: dir, mode });
    const appends = Array.from({ length: 150 }, (_, i) => log.append([note(`${i}`)]));
    await Promise.all([log.close(), log.close()]);
    assert.equal((await Promise.all(appends)).length, 150);
    await assert.rejects(log.append([note("late")]), { code: "ERR_INTERNAL" });
    assert.equal(verifyLog(dir, log.verifierKey).size, 151);
  });

  test(`${mode}: the memo is shared, bounded, and replaces`, async (t) => {
    const dir = stateDir(t);
    await using log = await openLog({ stateDir: dir, mode });
    await log.memo.put("kept", "old");
    await log.memo.put("kept", "new");
    await using other = await openLog({ stateDir: dir, mode: "inline" });
    assert.equal(await other.memo.get("kept"), "new");
    assert.equal(await other.memo.get("never"), undefined);
    for (let i = 0; i < MEMO_ENTRIES_MAX; i++) await log.memo.put(`k${i}`, "v");
    assert.equal(await other.memo.get("kept"), undefined);
    assert.equal(await other.memo.get("k0"), "v");
    await assert.rejects(log.memo.put("big", "x".repeat(65_537)), { code: "ERR_USAGE" });
  });
}

test("payloads are committed to, and kept only where asked", async (t) => {
  const dir = stateDir(t);
  await using log = await openLog({ stateDir: dir, mode: "inline" });
  const draft = { record: intent(), payloads: { input: Buffer.from('{"a":1}'), empty: new Uint8Array() } };
  const [committed] = await log.append([draft]);
  const [kept] = await log.append([draft], { keepPayloads: true });
  assert.ok(committed && kept);
  const unkept = await log.payload(committed.index, "input");
  const whole = await log.payload(kept.index, "input");
  assert.equal(unkept?.bytes, null);
  assert.deepEqual(Buffer.from(whole?.bytes ?? []), draft.payloads.input);
  // The salt is kept in any case: whoever has the payload can show that it was this one.
  assert.ok(opensCommitment(unkept.commitment, unkept.salt, draft.payloads.input));
  assert.ok(verifyPayload(JSON.parse(committed.bytes), "input", unkept.salt, draft.payloads.input));
  assert.ok(!verifyPayload(JSON.parse(committed.bytes), "empty", unkept.salt, draft.payloads.input));
  assert.ok(!verifyPayload(JSON.parse(committed.bytes), "input", unkept.salt, Buffer.from('{"a":2}')));
  assert.notEqual(whole?.commitment, unkept.commitment, "equal payloads are not seen to be equal");
  assert.equal(await log.payload(kept.index, "stdout"), undefined);
  assert.deepEqual(verifyLog(dir, log.verifierKey).problems, []);
});

test("secrets are masked before anything is committed or kept", async (t) => {
  const secrets = ["hunter2-token", Buffer.from("another-secret")];
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline", secrets, keepPayloads: true });
  const input = Buffer.from('{"auth":"hunter2-token","b":"another-secret"}');
  const [appended] = await log.append([
    { record: { ...intent(), capability: "hunter2-token" }, payloads: { input } },
  ]);
  const payload = await log.payload(appended?.index ?? 0, "input");
  const masked = Buffer.from('{"auth":"[masked]","b":"[masked]"}');
  assert.deepEqual(Buffer.from(payload?.bytes ?? []), masked);
  assert.ok(payload && opensCommitment(payload.commitment, payload.salt, masked));
  assert.ok(!appended?.bytes.includes("hunter2"));
  assert.equal(Buffer.from(log.mask(input)).toString(), masked.toString());
});

test("redacting deletes payload and salt, says so, and leaves every proof valid", async (t) => {
  const dir = stateDir(t);
  await using log = await openLog({ stateDir: dir, mode: "worker", keepPayloads: true });
  const [appended] = await log.append([{ record: intent(), payloads: { input: Buffer.from("personal") } }], {
    receipts: true,
  });
  assert.ok(appended);
  const redacted = await log.redact(appended.index, "input", "asked to be forgotten");
  assert.equal(await log.payload(appended.index, "input"), undefined);
  assert.match(redacted.bytes, /"kind":"redacted"/);
  verifyReceipt(JSON.stringify(appended.receipt), log.verifierKey);
  assert.deepEqual(verifyLog(dir, log.verifierKey).problems, []);
  for (const file of readdirSync(dir)) {
    assert.ok(!readFileSync(join(dir, file)).includes("personal"), `${file} still holds it`);
  }
  await assert.rejects(log.redact(appended.index, "input", "again"), { code: "ERR_NOT_FOUND" });
  assert.equal(await log.size(), 3);
});

test("whoever kept an older checkpoint is shown that the log grew out of it", async (t) => {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline" });
  const roots = new Map<number, Uint8Array>([[0, rootAt(0, () => new Uint8Array())]]);
  for (let i = 0; i < 40; i++) {
    const [appended] = await log.append([note(`${i}`)], { receipts: true });
    const verified = verifyReceipt(JSON.stringify(appended?.receipt), log.verifierKey);
    roots.set(verified.size, verified.root);
  }
  const newest = roots.get(41) ?? new Uint8Array();
  for (const [size, root] of roots) {
    const { from, to, proof } = await log.consistency(size);
    const hashes = proof.map((hash) => Buffer.from(hash, "base64"));
    assert.ok(verifyConsistency(from, to, hashes, root, newest), `${size}`);
  }
  await assert.rejects(log.consistency(42), { code: "ERR_NOT_FOUND" });
});

test("scan pages through the record and never gives more than its bound", async (t) => {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline" });
  await log.append(Array.from({ length: SCAN_ENTRIES_MAX + 5 }, (_, i) => note(`${i}`)));
  assert.equal((await log.scan({ limit: 1e9 })).length, SCAN_ENTRIES_MAX);
  assert.deepEqual(
    (await log.scan({ from: 3, limit: 2 })).map(({ index }) => index),
    [3, 4],
  );
  assert.equal((await log.scan({ from: SCAN_ENTRIES_MAX })).length, 6);
});

test("a record that no entry can hold refuses its append and no other", async (t) => {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline" });
  const bad = {
    record: { ...intent(), context: { environment: { name: "e", protected: false }, depth: 0.5 } },
  };
  const [first, second] = await Promise.allSettled([
    log.append([note("good"), bad]),
    log.append([note("other")]),
  ]);
  assert.equal(first.status, "rejected");
  assert.equal(second.status, "fulfilled");
  assert.deepEqual(await kinds(log), ["genesis", "policy"]);
  const payloads = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`p${i}`, new Uint8Array(1)]));
  const together = [log.append([{ ...note("many"), payloads }]), log.append([note("beside it")])];
  assert.deepEqual(
    (await Promise.allSettled(together)).map(({ status }) => status),
    ["rejected", "fulfilled"],
  );
  assert.deepEqual(await log.append([]), []);
});

test("the clock that was given stamps the entries", async (t) => {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline", now: () => 1_790_000_000_123.7 });
  await log.append([note("a")]);
  const entries = await log.scan();
  assert.deepEqual(
    entries.map(({ entry }) => entry["timeMs"]),
    [1_790_000_000_123, 1_790_000_000_123],
  );
});
