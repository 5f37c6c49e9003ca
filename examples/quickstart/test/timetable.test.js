import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { nextDeparture, serviceMinutes } from "../src/timetable.js";

const { lines } = JSON.parse(readFileSync(new URL("../data/timetable.json", import.meta.url), "utf8"));

test("the next boat is the first that has not left", () => {
  assert.equal(nextDeparture(["09:00", "07:45", "12:30"], "08:10"), "09:00");
});

test("after the last boat there is none", () => {
  assert.equal(nextDeparture(["07:45", "09:00"], "21:00"), undefined);
});

test("every line of the timetable runs for at least four hours", () => {
  for (const { departures } of lines) assert.ok(serviceMinutes(departures) >= 240);
});
