import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MASK, Masker } from "../../contract/mask.ts";
import { MaskStream } from "./mask-stream.ts";

const SECRET = 's3cr3t/ab"c+DEF==';

async function through(secrets: readonly string[], chunks: readonly Buffer[]): Promise<Buffer> {
  const stream = new MaskStream(new Masker(secrets));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  return Buffer.concat(await stream.toArray());
}

test("a secret is masked in the forms in which it travels, however the body is cut", async () => {
  const forms = [
    SECRET,
    encodeURIComponent(SECRET),
    JSON.stringify(SECRET).slice(1, -1),
    Buffer.from(`x:${SECRET}`).toString("base64"),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...forms),
      fc.array(fc.integer({ min: 1, max: 9 })),
      async (form, cuts) => {
        const whole = Buffer.from(`before ${form} after`);
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of [...cuts, whole.length]) {
          chunks.push(whole.subarray(at, at + cut));
          at += cut;
        }
        const text = (await through([SECRET], chunks)).toString();
        assert.ok(text.includes(MASK), text);
        assert.ok(!text.includes(form.slice(4)), text);
        assert.match(text, /^before .* after$/);
      },
    ),
    { numRuns: 400 },
  );
});

test("bytes that are no text pass as they are", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  assert.deepEqual(await through(["a secret"], [bytes]), bytes);
});
