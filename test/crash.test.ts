import assert from "node:assert/strict";
import { test } from "node:test";
import { crash } from "./crash.fixture.ts";

/** `npm run bench crash` does 200. */
const KILLS = 8;

test("killed under load: nothing ran without an intent, nothing was returned without an outcome, all verifies", async () => {
  const totals = await crash(KILLS);
  assert.equal(totals.kills, KILLS);
  // It saw something: calls that returned, tools that ran, and calls that were cut off.
  assert.ok(totals.returned > 0 && totals.ran >= totals.returned, JSON.stringify(totals));
  assert.ok(totals.recovered > 0, JSON.stringify(totals));
});
