import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MASK, Masker, StreamMasker } from "./mask.ts";

const SECRET = "hunter2-token";

/** The text, masked in pieces of these lengths. */
function inPieces(masker: Masker, text: string, cuts: readonly number[] = []): string {
  const stream = new StreamMasker(() => masker);
  const bytes = Buffer.from(text);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    parts.push(stream.push(bytes.subarray(at, at + cut)));
    at += cut;
  }
  return Buffer.concat([...parts, stream.end()]).toString();
}

test("however the bytes are cut, the same is masked as in the whole", () => {
  const masker = new Masker([SECRET, "пароль"]);
  const forms = [SECRET, Buffer.from(SECRET).toString("base64"), encodeURIComponent("пароль"), "пароль"];
  const part = fc.oneof(fc.constantFrom(...forms, "h", "hunter2-", "п", "/"), fc.string({ maxLength: 3 }));
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.array(fc.nat({ max: 9 })), (parts, cuts) => {
      // With a blank between, no two of them run into each other.
      const text = parts.join(" ");
      assert.equal(inPieces(masker, text, cuts), Buffer.from(masker.bytes(Buffer.from(text))).toString());
    }),
    { numRuns: 1_000 },
  );
});

test("where secrets overlap nothing of either is left, however the bytes are cut", () => {
  const masker = new Masker(["token-abcdef", "abcdef-rest", "abcdef", "aaaaaa"]);
  const whole = `x token-abcdef-rest y ${"a".repeat(20)} token-abcdeg`;
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 9 })), (cuts) => {
      assert.equal(inPieces(masker, whole, cuts), `x ${MASK} y ${MASK} token-abcdeg`);
    }),
  );
});

test("one secret inside of another ends nothing early", () => {
  const masker = new Masker(["abcdefghijkl", "cdefgh-no", "cdefgh"]);
  for (const cuts of [[], [4, 3, 3], [9]])
    assert.equal(inPieces(masker, "<abcdefghijkl>", cuts), `<${MASK}>`);
});

test("secrets next to each other are two", () => {
  assert.equal(inPieces(new Masker([SECRET]), `${SECRET}${SECRET}`, [5, 9]), `${MASK}${MASK}`);
});

test("only what may be the beginning of a secret is held back", () => {
  const stream = new StreamMasker(() => new Masker([SECRET]));
  const push = (text: string): string => Buffer.from(stream.push(Buffer.from(text))).toString();
  assert.equal(push("line one\nhun"), "line one\n");
  assert.equal(push("ger\nhunter2"), "hunger\n");
  assert.equal(push("-token!"), `${MASK}!`);
  assert.equal(push("hunter2-toke"), "");
  assert.equal(Buffer.from(stream.end()).toString(), "hunter2-toke");
  assert.equal(Buffer.from(stream.end()).toString(), "");
});

test("a secret that is learnt while the stream flows is masked from then on", () => {
  let masker = new Masker([]);
  const stream = new StreamMasker(() => masker);
  const push = (text: string): string => Buffer.from(stream.push(Buffer.from(text))).toString();
  assert.equal(push(`${SECRET} hun`), `${SECRET} hun`);
  masker = new Masker([SECRET]);
  assert.equal(push(`${SECRET}`), MASK);
});

test("JSON values are masked in texts, keys and numbers, and keep their form", () => {
  const value = { a: [`x${SECRET}`, 1, null, true], [SECRET]: { n: 123_456_789 } };
  const masked = new Masker([SECRET, "123456789"]).json(value);
  assert.deepEqual(masked, { a: [`x${MASK}`, 1, null, true], [MASK]: { n: MASK } });
  assert.equal(new Masker([]).json(value), value);
});
