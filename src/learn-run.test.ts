import assert from "node:assert/strict";
import { it } from "node:test";
import { learnRun } from "./learn-run.ts";
import { openBench } from "./sandbox/sandbox.fixture.ts";

it("a run is learnt from where it was observed, and only there", async () => {
  await using bench = openBench();
  const profile = bench.profile();
  const place = { workspace: bench.workspace, own: { hidden: [bench.folder], protected: [] } };
  const argv = ["sh", "-c", "cat a.txt; echo x > a.txt"];
  const usual = await bench.run(argv);
  assert.equal(learnRun(usual.execution, [], profile, place), null);
  const observed = await bench.run(argv, { profile: { ...profile, observeFiles: true } });
  const fragment = learnRun(observed.execution, [], profile, place);
  assert.match(
    fragment?.yaml ?? "",
    /write:\n {6}- "\$\{workspace\}\/a\.txt" # asked for, to be written, once, refused/,
  );
  assert.deepEqual(fragment?.flags, ["--write", `${bench.workspace}/a.txt`]);
  const absent = await bench.run(["no-such-program"], { profile: { ...profile, observeFiles: true } });
  assert.equal(learnRun(absent.execution, [], profile, place), null);
});
