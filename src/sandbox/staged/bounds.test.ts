import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { COPIED_DEPTH_MAX } from "./bounds.ts";
import { findChanges } from "./compare.ts";
import { copyTree } from "./copy.ts";
import { openStagedBench } from "./staged.fixture.ts";

const USER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const ROOMY = { entriesMax: 1000, bytesMax: 1000 };

test("a tree with more entries, more bytes or deeper folders than are copied is refused by name", async () => {
  using bench = openStagedBench();
  const copy = (name: string, bounds: Partial<typeof ROOMY>): Promise<unknown> =>
    copyTree(bench.tree, `${bench.tree}-${name}`, USER, { ...ROOMY, ...bounds });
  const { size } = await copyTree(bench.tree, `${bench.tree}-all`, USER, ROOMY);
  await assert.rejects(copy("few", { entriesMax: size - 1 }), { code: "ERR_USAGE", message: /entries/ });
  await copy("enough", { entriesMax: size });
  await assert.rejects(copy("small", { bytesMax: 10 }), { code: "ERR_USAGE", message: /10 bytes/ });
  mkdirSync(bench.at(Array.from({ length: COPIED_DEPTH_MAX + 1 }, () => "d").join("/")), { recursive: true });
  await assert.rejects(copy("deep", {}), { code: "ERR_USAGE", message: /folders deep/ });
});

test("more changes, or larger ones, than are applied are refused as a whole", async () => {
  using bench = openStagedBench();
  const copy = `${bench.tree}-copy`;
  const baseline = await copyTree(bench.tree, copy, USER);
  const tree = { root: bench.tree, copy, baseline };
  for (const name of ["a", "b", "c"]) writeFileSync(join(copy, name), "12345");
  assert.equal((await findChanges(tree, { changesMax: 3, bytesMax: 15 })).length, 3);
  const refused = { code: "ERR_CHANGES_REFUSED" };
  await assert.rejects(findChanges(tree, { changesMax: 2, bytesMax: 15 }), {
    ...refused,
    message: /2 paths/,
  });
  await assert.rejects(findChanges(tree, { changesMax: 3, bytesMax: 14 }), {
    ...refused,
    message: /14 bytes/,
  });
});
