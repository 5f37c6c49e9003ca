import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { didYouMean, nearest } from "./nearest.ts";

describe("nearest", () => {
  it("finds what was meant", () => {
    assert.equal(nearest("limts", ["limits", "files"]), "limits");
    assert.equal(nearest("Tier", ["tier"]), "tier");
    assert.equal(nearest("alfa", ["alpha", "beta"]), "alpha");
    assert.equal(nearest("memroy", ["memory"]), "memory");
    assert.equal(nearest("repo.serch", ["repo.read", "repo.search"]), "repo.search");
  });

  it("says nothing where nothing is close", () => {
    assert.equal(nearest("abc", ["axy"]), undefined);
    assert.equal(nearest("x", ["files", "limits"]), undefined);
    assert.equal(nearest("staged", ["files", "limits"]), undefined);
    assert.equal(nearest("tier", []), undefined);
  });

  it("compares no long words", () => {
    assert.equal(nearest("a".repeat(65), ["a".repeat(65)]), undefined);
  });

  it("is a remedy, or none", () => {
    assert.equal(didYouMean("limts", ["limits"]), "did you mean `limits`?");
    assert.equal(didYouMean("x", ["limits"]), undefined);
  });
});
