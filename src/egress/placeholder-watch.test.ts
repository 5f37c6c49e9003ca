import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { GateCredential } from "./credentials/credential.ts";
import { PlaceholderWatch } from "./placeholder-watch.ts";
import { Refusal } from "./visit.ts";

function credential(name: string, ...placeholders: readonly string[]): GateCredential {
  return { name, placeholders } as unknown as GateCredential;
}

const CREDENTIALS = [credential("long", "abcabcabd"), credential("short", "bb"), credential("none", "")];

function isRefused(text: string, cuts: readonly number[]): boolean {
  const watch = new PlaceholderWatch(CREDENTIALS);
  let at = 0;
  try {
    for (const cut of [...cuts, text.length]) {
      watch.see(Buffer.from(text.slice(at, at + cut)));
      at += cut;
    }
    return false;
  } catch (error) {
    assert.ok(error instanceof Refusal);
    return true;
  }
}

test("a placeholder is found exactly where it stands, however the bytes are cut", () => {
  const text = fc.array(fc.constantFrom("a", "b", "abc", "abd", "x"), { maxLength: 12 });
  fc.assert(
    fc.property(text, fc.array(fc.nat({ max: 5 })), (parts, cuts) => {
      const whole = parts.join("");
      assert.equal(isRefused(whole, cuts), whole.includes("abcabcabd") || whole.includes("bb"));
    }),
    { numRuns: 2_000 },
  );
});

test("without credentials everything passes", () => {
  new PlaceholderWatch([]).see(Buffer.from("abcabcabd"));
});
