// Runs in the VM: what the other tests there rest on is true.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { detectLimits } from "../../src/sandbox/limits/detect.ts";
import { openBench } from "../../src/sandbox/sandbox.fixture.ts";

test("cgroup v2 is the only hierarchy, with every controller that limits need", () => {
  assert.equal(readFileSync("/proc/self/cgroup", "utf8"), "0::/\n");
  const controllers = readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ");
  for (const name of ["cpu", "memory", "pids"]) assert.ok(controllers.includes(name), name);
  assert.equal(detectLimits().name, "cgroup v2");
});

test("AppArmor is active, and so is Landlock", () => {
  assert.equal(readFileSync("/sys/module/apparmor/parameters/enabled", "utf8").trim(), "Y");
  const modules = readFileSync("/sys/kernel/security/lsm", "utf8").trim().split(",");
  for (const name of ["apparmor", "landlock"]) assert.ok(modules.includes(name), name);
});

test("Landlock of this kernel holds a call, and its ABI is in the evidence", async () => {
  await using bench = openBench();
  const { controls } = await bench.run(["true"]);
  assert.equal(controls.lsm.state, "enforced");
  assert.match(controls.lsm.evidence, /^Landlock ABI 2; /);
});
