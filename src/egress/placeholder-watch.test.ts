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

const PLACEHOLDER = "callgate-0123456789abcdef0123456789abcdef";

/** Every form that is looked for, with whatever may stand before it. */
const FORMS: Readonly<Record<string, (before: string) => string>> = {
  plain: (before) => before + PLACEHOLDER,
  base64: (before) => Buffer.from(`${before}${PLACEHOLDER}tail`).toString("base64"),
  base64url: (before) => Buffer.from(`${before}${PLACEHOLDER}tail`).toString("base64url"),
  hex: (before) => Buffer.from(before + PLACEHOLDER).toString("hex"),
  "upper-case hex": (before) =>
    Buffer.from(before + PLACEHOLDER)
      .toString("hex")
      .toUpperCase(),
  percent: (before) => `${before}${PLACEHOLDER.replace(/[^a-z0-9]/g, percent)}`,
  "percent in parts": (before) => `${before}%${PLACEHOLDER.replace(/[a-f]/g, percent)}`,
  "percent throughout": (before) => `${before}%4${PLACEHOLDER.replace(/./g, percent)}`,
};

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16)}`;
}

function isSeen(text: string, cuts: readonly number[]): boolean {
  const watch = new PlaceholderWatch([credential("long", PLACEHOLDER)]);
  const bytes = Buffer.from(text);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  try {
    let at = 0;
    for (const end of [...ends, bytes.length]) {
      watch.see(bytes.subarray(at, end));
      at = end;
    }
    return false;
  } catch (error) {
    assert.ok(error instanceof Refusal);
    assert.ok(!error.message.includes(PLACEHOLDER));
    return true;
  }
}

for (const [form, write] of Object.entries(FORMS)) {
  test(`a placeholder is found as ${form}, wherever it begins and however the bytes are cut`, () => {
    const before = fc.string({ unit: fc.constantFrom("a", "%", "4", "=", "+", " "), maxLength: 7 });
    fc.assert(
      fc.property(before, fc.array(fc.nat()), (text, cuts) => {
        // A `%` at the end of what stands before would take the first digits with it.
        const written = `${write(text.replace(/(?:%.?)+$/, ""))} after`;
        assert.ok(isSeen(written, cuts), written);
      }),
      { numRuns: 500 },
    );
  });
}

test("half of a placeholder is none, in any form", () => {
  const half = PLACEHOLDER.slice(0, -1);
  for (const text of [half, Buffer.from(half).toString("base64"), half.replace(/./g, percent), `${half}%3`])
    assert.equal(isSeen(text, [3, 9]), false, text);
});
