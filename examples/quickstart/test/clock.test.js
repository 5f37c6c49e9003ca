import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTime, parseTime } from "../src/clock.js";

test("a time and its minutes are two ways to say one thing", () => {
  assert.equal(parseTime("07:45"), 465);
  assert.equal(formatTime(465), "07:45");
});

test("what is not a time of day is refused", () => {
  assert.throws(() => parseTime("24:00"), RangeError);
});
