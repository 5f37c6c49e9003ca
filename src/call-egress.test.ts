import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LazyEgress } from "./call-egress.ts";
import { loadProject } from "./load-project.ts";

test("an edge that could not be made is made for the next call", async (t) => {
  const base = mkdtempSync(join(tmpdir(), "callgate-lazy-egress-"));
  t.after(() => rmSync(base, { recursive: true }));
  const folder = join(base, "egress");
  const workingDirectory = join(base, "project");
  mkdirSync(workingDirectory);
  const { project } = await loadProject({ workingDirectory, state: join(base, "state") });
  await using lazy = new LazyEgress(folder, project);
  writeFileSync(folder, "in the way");
  await assert.rejects(lazy.get(), { code: "EEXIST" });
  rmSync(folder);
  const egress = await lazy.get();
  assert.equal(await lazy.get(), egress);
});
