import assert from "node:assert/strict";
import { test } from "node:test";
import { findVmHost } from "./vm/host.ts";
import { JOBS } from "./vm/jobs.ts";
import { runInVm } from "./vm/machine.ts";

const host = findVmHost();

test("in a VM with cgroup v2 alone and AppArmor active", {
  skip: typeof host === "string" ? host : false,
}, async (context) => {
  assert.ok(typeof host === "object");
  const first = await runInVm(host, JOBS);
  // Emulation has crashed Node before a job said anything; that is no result, and is tried once more and told.
  const silent = JOBS.filter(({ name }) => !first.tests.some(({ job }) => job === name));
  if (silent.length > 0)
    context.diagnostic(`started again: nothing came of ${silent.map(({ name }) => name).join(", ")}`);
  const report = silent.length > 0 ? await runInVm(host, JOBS) : first;
  const text = `after ${Math.round(report.wallMs)} ms; its console ends:\n${report.console}`;
  for (const { job, name, ok, skipped, error } of report.tests) {
    // Whatever a test needs is there, so one that is left out is one that does not hold.
    await context.test(`${job}: ${name}`, () => {
      assert.equal(skipped, undefined);
      assert.ok(ok, error ?? "failed");
    });
  }
  assert.ok(report.finished, `the VM did not come to its end ${text}`);
  assert.deepEqual([report.tests.length, report.unread], [report.told, []], `results were lost ${text}`);
  for (const { name } of JOBS) {
    assert.ok(
      report.tests.some(({ job }) => job === name),
      `no test ran as \`${name}\`, ${text}`,
    );
    assert.equal(report.jobs.get(name)?.status, 0, `\`${name}\` failed ${text}`);
    context.diagnostic(`${name}: ${report.jobs.get(name)?.seconds.toFixed(1)} s inside`);
  }
  context.diagnostic(`${(report.wallMs / 1000).toFixed(1)} s in all`);
});
