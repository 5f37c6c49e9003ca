import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isWithin } from "./within.ts";

describe("isWithin", () => {
  it("tells a folder from one whose name it begins", () => {
    assert.ok(isWithin("/a/b", "/a"));
    assert.ok(isWithin("/a", "/a"));
    assert.ok(isWithin("/a/..b", "/a"));
    assert.ok(!isWithin("/ab", "/a"));
    assert.ok(!isWithin("/", "/a"));
    assert.ok(isWithin("/a", "/"));
  });
});
