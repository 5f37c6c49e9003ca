import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MASK, MaskStream, masked } from "./mask-stream.ts";

async function through(secrets: readonly string[], chunks: readonly Buffer[]): Promise<string> {
  const stream = new MaskStream(secrets);
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  return Buffer.concat(await stream.toArray()).toString();
}

test("a secret is masked however the body is cut", async () => {
  const text = fc.array(fc.constantFrom("a", "b", "ab", "aab", "é"), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat({ max: 4 })), async (parts, cuts) => {
      const whole = Buffer.from(parts.join(""));
      const chunks: Buffer[] = [];
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        chunks.push(whole.subarray(at, at + cut));
        at += cut;
      }
      const expected = parts.join("").replace(/aabéb|aab/g, MASK);
      assert.equal(await through(["aab", "aabéb", ""], chunks), expected);
    }),
    { numRuns: 1_000 },
  );
});

test("bytes that are no text pass as they are", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const stream = new MaskStream(["secret"]);
  stream.end(bytes);
  assert.deepEqual(Buffer.concat(await stream.toArray()), bytes);
});

test("a header is masked, and the longest secret first", () => {
  assert.equal(masked("Bearer abcd, abc", ["abc", "abcd", ""]), `Bearer ${MASK}, ${MASK}`);
});
