import assert from "node:assert/strict";
import { test } from "node:test";
import { newPlaceholder } from "./placeholder.ts";

test("a placeholder is random, and begins as it is asked to", () => {
  const all = Array.from({ length: 100 }, () => newPlaceholder("ghp_"));
  assert.equal(new Set(all).size, all.length);
  for (const one of all) assert.match(one, /^ghp_[0-9a-f]{32}$/);
  assert.match(newPlaceholder(), /^callgate-[0-9a-f]{32}$/);
});

test("it begins with nothing that an encoding would change", () => {
  for (const shape of ["", "a b", 'a"', "a+", "a/", "a~", "a?", "a\n", "ä", "x".repeat(33)])
    assert.throws(() => newPlaceholder(shape), RangeError, shape);
});
