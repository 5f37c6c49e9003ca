// Runs in the VM as user 1234, in a leaf of a group whose files are that user's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { findHomes, readCgroupFacts } from "../../src/sandbox/limits/detect.ts";

test("a user's own groups are made beside the session, in the group that was handed over", () => {
  assert.equal(process.geteuid?.(), 1234);
  assert.equal(readFileSync("/proc/self/cgroup", "utf8"), "0::/session/shell\n");
  const home = { version: 2, folder: "/sys/fs/cgroup/session" };
  assert.deepEqual(findHomes(readCgroupFacts()), { memory: home, processes: home, cpu: home, share: home });
});
