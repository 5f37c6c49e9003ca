import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { faultAt, faultAtName } from "./fault.fixture.ts";
import {
  changeAll,
  contents,
  openStagedBench,
  type StagedBench,
  SUCCESS,
  snapshot,
} from "./staged.fixture.ts";
import { recoverStaged } from "./staged.ts";

const KILLED = fileURLToPath(new URL("./killed.fixture.ts", import.meta.url));
const POINTS_MAX = 200;
/** A killed gateway is a process of its own: every third point, where a failed call is tried at each. */
const KILL_STRIDE = 3;

/** What the tree holds when all is applied. */
async function wanted(): Promise<readonly string[]> {
  using bench = openStagedBench();
  changeAll(bench.tree);
  return contents(bench.tree);
}

function nothingLeft(bench: StagedBench): void {
  assert.deepEqual(
    readdirSync(bench.tree, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.includes(".callgate-"),
    ),
    [],
  );
  assert.deepEqual(readdirSync(bench.folder), ["notes"]);
  assert.deepEqual(readdirSync(`${bench.folder}/notes`), []);
}

test("whichever call fails, nothing is applied and the tree is as it was to the byte", async () => {
  let points = 0;
  for (let at = 1; at <= POINTS_MAX; at += 1) {
    using bench = openStagedBench();
    const before = snapshot(bench.tree);
    const staged = await bench.stage();
    changeAll(staged.copyOf(bench.tree));
    const fault = faultAt(at, () => {
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    });
    const changes = await staged.settle(SUCCESS);
    const isOver = fault.calls() < at;
    fault.restore();
    if (isOver) break;
    points += 1;
    assert.equal(changes.state, "failed", `point ${at}`);
    assert.match(changes.reason ?? "", /ENOSPC/);
    assert.deepEqual(snapshot(bench.tree), before, `point ${at}`);
    await staged[Symbol.asyncDispose]();
    nothingLeft(bench);
  }
  assert.ok(points > 30 && points < POINTS_MAX, `${points} points`);
});

test("wherever the gateway is killed, the next takes back what no outcome confirms, and finishes what one does", async () => {
  const after = await wanted();
  let points = 0;
  let confirmed = 0;
  for (let at = 1; at <= POINTS_MAX; at += KILL_STRIDE) {
    using bench = openStagedBench();
    const before = snapshot(bench.tree);
    const { signal, stdout } = spawnSync(process.execPath, [KILLED, bench.tree, bench.folder, String(at)]);
    if (signal !== "SIGKILL") break;
    points += 1;
    // What the child said before it was killed stands for the outcome in the record.
    const isApplied = stdout.toString() === "applied\n";
    confirmed += isApplied ? 1 : 0;
    await recoverStaged(bench.folder, async () => isApplied);
    if (isApplied) assert.deepEqual(contents(bench.tree), after, `point ${at}`);
    else assert.deepEqual(snapshot(bench.tree), before, `point ${at}`);
    nothingLeft(bench);
  }
  assert.ok(points > 15 && points < POINTS_MAX, `${points} points`);
  assert.ok(confirmed > 0 && confirmed < points, `${confirmed} of ${points} after the outcome`);
});

test("what somebody writes between the last look and the swap makes all of it go back", async () => {
  using bench = openStagedBench();
  const staged = await bench.stage();
  changeAll(staged.copyOf(bench.tree));
  // The first swap is a rename in the tree itself: by then everything has been looked at.
  const fault = faultAtName(
    "renameSync",
    (from) => from.endsWith(".new"),
    () => {
      writeFileSync(bench.at("old/deep/file.txt"), "mine\n");
    },
  );
  const changes = await staged.settle(SUCCESS);
  fault.restore();
  assert.equal(changes.state, "conflict");
  assert.equal(readFileSync(bench.at("old/deep/file.txt"), "utf8"), "mine\n");
  assert.equal(readFileSync(bench.at("edit.txt"), "utf8"), "before\n");
  await staged[Symbol.asyncDispose]();
  nothingLeft(bench);
});

test("what no outcome has confirmed is taken back when the call ends", async () => {
  using bench = openStagedBench();
  const before = snapshot(bench.tree);
  const staged = await bench.stage();
  changeAll(staged.copyOf(bench.tree));
  assert.equal((await staged.settle(SUCCESS)).state, "applied");
  assert.notDeepEqual(snapshot(bench.tree), before);
  await staged[Symbol.asyncDispose]();
  assert.deepEqual(snapshot(bench.tree), before);
  nothingLeft(bench);
});

test("what a gateway that lives is doing is left to it", async () => {
  using bench = openStagedBench();
  await using staged = await bench.stage();
  await recoverStaged(bench.folder, async () => false);
  assert.ok(existsSync(staged.copyOf(bench.tree)));
});
