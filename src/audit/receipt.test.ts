import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { JsonObject } from "../contract/json.ts";
import type { Receipt } from "../contract/record.ts";
import { signCheckpoint } from "./checkpoint.ts";
import { commit } from "./commitment.ts";
import { note, stateDir } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { leafHash } from "./merkle.ts";
import { formatVerifierKey, keyId } from "./note.ts";
import { formatProof } from "./proof.ts";
import { verifyPayload, verifyReceipt } from "./receipt.ts";

async function receipts(
  t: Parameters<typeof stateDir>[0],
): Promise<{ readonly key: string; readonly some: readonly Receipt[] }> {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline" });
  await log.append(Array.from({ length: 20 }, (_, i) => note(`entry ${i}`)));
  return { key: log.verifierKey, some: [await log.receipt(7), await log.receipt(8)] };
}

test("a receipt is about a kilobyte and says what it proves", async (t) => {
  const { key, some } = await receipts(t);
  const text = JSON.stringify(some[0]);
  assert.ok(text.length < 1500, `${text.length} bytes`);
  const { index, size, entry, origin, checkpoint } = verifyReceipt(Buffer.from(text), `${key}\n`);
  assert.deepEqual([index, size, entry["summary"]], [7, 21, "entry 6"]);
  assert.ok(checkpoint.startsWith(`${origin}\n21\n`));
});

test("any change of a receipt leaves it proving nothing", async (t) => {
  const { key, some } = await receipts(t);
  const text = JSON.stringify(some[0]);
  const change = fc.tuple(fc.nat(), fc.constantFrom("", "x", "0", "\n", "A", '"'));
  fc.assert(
    fc.property(change, ([seed, other]) => {
      const at = seed % text.length;
      const changed = text.slice(0, at) + other + text.slice(at + 1);
      if (changed !== text)
        assert.throws(() => verifyReceipt(changed, key), { code: "ERR_RECEIPT_INVALID" }, changed);
    }),
    { numRuns: 400 },
  );
});

test("one receipt's parts do not serve another", async (t) => {
  const { key, some } = await receipts(t);
  const other = await receipts(t);
  const [one, two] = some;
  assert.ok(one && two);
  const mixed: readonly Receipt[] = [
    { ...one, entry: two.entry },
    { ...one, proof: two.proof },
    { ...one, proof: one.proof.replace("index 7", "index 8") },
    { ...one, origin: other.some[0]?.origin ?? "" },
    { ...one, proof: other.some[0]?.proof ?? "" },
  ];
  for (const each of mixed)
    assert.throws(() => verifyReceipt(JSON.stringify(each), key), { code: "ERR_RECEIPT_INVALID" });
  assert.throws(() => verifyReceipt(JSON.stringify(one), other.key), {
    code: "ERR_RECEIPT_INVALID",
    message: /another log/,
  });
});

test("an entry that says it is of another log or version is refused, though this log signed it", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const origin = "callgate.local/x";
  const signer = { name: origin, id: keyId(origin, raw), key: privateKey };
  const receiptOf = (entry: object): string => {
    const bytes = JSON.stringify(entry);
    const checkpoint = signCheckpoint({ origin, size: 1, root: leafHash(bytes) }, signer);
    return JSON.stringify({ version: 1, origin, entry: bytes, proof: formatProof(0, [], checkpoint) });
  };
  const key = formatVerifierKey(origin, raw);
  assert.equal(verifyReceipt(receiptOf({ version: 1, origin, kind: "policy" }), key).index, 0);
  for (const other of [
    { version: 2, origin, kind: "policy" },
    { version: 1, origin: "y", kind: "policy" },
    { version: 1, origin },
  ]) {
    assert.throws(() => verifyReceipt(receiptOf(other), key), {
      code: "ERR_RECEIPT_INVALID",
      message: /version/,
    });
  }
});

test("a payload has the size and the commitment that the entry says, under its own name", () => {
  const salt = new Uint8Array(32);
  const payload = Buffer.from("payload");
  const commitment = `sha256:${commit(salt, payload).toString("hex")}`;
  const entry = (bytes: number): JsonObject => ({ payloads: { input: { bytes, commitment } } });
  assert.ok(verifyPayload(entry(7), "input", salt, payload));
  assert.ok(!verifyPayload(entry(8), "input", salt, payload));
  assert.ok(!verifyPayload(entry(7), "stdout", salt, payload));
  assert.ok(!verifyPayload({}, "input", salt, payload));
});

test("repeated keys, other members and other types are refused", async (t) => {
  const { key, some } = await receipts(t);
  const text = JSON.stringify(some[0]);
  const bad: Readonly<Record<string, RegExp>> = {
    [text.replace('"version":1', '"version":1,"version":1')]: /repeated keys/,
    [text.replace('"version":1', '"version":2')]: /another version/,
    [text.replace('"version":1', '"version":"1"')]: /another version/,
    [text.replace('"version":1', '"version":1,"extra":1')]: /exactly the members/,
    [text.replace('"version":1,', "")]: /exactly the members/,
    [JSON.stringify({ ...some[0], entry: {} })]: /not a text/,
    [`${text} `.repeat(2)]: /not a JSON object/,
    "[]": /not a JSON object/,
    "": /not a JSON object/,
    [JSON.stringify({ ...some[0], entry: "x".repeat(70_000) })]: /too long/,
    [`${text}${" ".repeat(1024 * 1024)}`]: /too long/,
  };
  for (const [receipt, message] of Object.entries(bad)) {
    assert.throws(
      () => verifyReceipt(receipt, key),
      { code: "ERR_RECEIPT_INVALID", message },
      receipt.slice(0, 80),
    );
  }
  assert.throws(() => verifyReceipt(Uint8Array.of(0xff, 0xfe), key), { code: "ERR_RECEIPT_INVALID" });
  assert.throws(() => verifyReceipt(text, "no key"), { code: "ERR_KEY_INVALID" });
});
