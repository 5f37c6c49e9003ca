import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nearest } from "./nearest.ts";

describe("nearest", () => {
  it("finds what was meant", () => {
    assert.equal(nearest("limts", ["limits", "files"]), "limits");
    assert.equal(nearest("Tier", ["tier"]), "tier");
    assert.equal(nearest("memroy", ["memory"]), "memory");
    assert.equal(nearest("repo.serch", ["repo.read", "repo.search"]), "repo.search");
  });

  it("says nothing where nothing is close", () => {
    assert.equal(nearest("x", ["files", "limits"]), undefined);
    assert.equal(nearest("staged", ["files", "limits"]), undefined);
    assert.equal(nearest("tier", []), undefined);
  });

  it("compares no long words", () => {
    assert.equal(nearest("a".repeat(65), ["a".repeat(65)]), undefined);
  });
});
