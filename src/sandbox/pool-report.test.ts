import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { PoolStats } from "./pool.ts";
import { readPoolReports, reportPool } from "./pool-report.ts";

const STATS: PoolStats = {
  waiting: 2,
  building: 0,
  memoryBytes: 3,
  served: 4,
  missed: 5,
  built: 6,
  failed: 7,
  discarded: { age: 0, change: 0, died: 0, room: 0 },
};

test("what waits is told to other processes while this one lives, and by nobody afterwards", async () => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-pools-"));
  {
    using reporter = reportPool(folder, () => STATS);
    reporter.note();
    reporter.note();
    for (let tries = 0; readPoolReports(folder).length === 0 && tries < 400; tries += 1) await sleep(10);
    assert.deepEqual(readPoolReports(folder), [{ pid: process.pid, ...STATS }]);
    // A gateway that was killed, and a file that is not ours.
    writeFileSync(join(folder, "999999999.json"), JSON.stringify(STATS));
    writeFileSync(join(folder, "notes.txt"), "x");
    assert.equal(readPoolReports(folder).length, 1);
  }
  assert.deepEqual(readdirSync(folder).toSorted(), ["999999999.json", "notes.txt"]);
  const over = reportPool(folder, () => STATS);
  over[Symbol.dispose]();
  over.note(); // a call that ends while its gate is closed
  await sleep(1_200);
  assert.deepEqual(readdirSync(folder).toSorted(), ["999999999.json", "notes.txt"]);
  assert.deepEqual(readPoolReports(join(folder, "not-there")), []);
  rmSync(folder, { recursive: true });
});
