import assert from "node:assert/strict";
import { test } from "node:test";
import { hasEnded, killProcess, locate, parseMountinfo, readStartTicks } from "./procfs.ts";

const MOUNTS = parseMountinfo(
  [
    "20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
    "21 20 8:2 / /home rw - ext4 /dev/sda2 rw",
    "22 20 8:1 /var/lib/x /srv\\040with\\040space ro - ext4 /dev/sda1 rw",
    "23 20 0:9 / /home/tmp rw - tmpfs tmpfs rw",
  ].join("\n"),
);

test("mountinfo: escapes, roots and flags", () => {
  assert.deepEqual(MOUNTS[2], {
    device: "8:1",
    root: "/var/lib/x",
    point: "/srv with space",
    writable: false,
    type: "ext4",
  });
});

test("a path is located in the deepest mount that holds it", () => {
  assert.deepEqual(locate("/etc/passwd", MOUNTS), { device: "8:1", root: "/etc/passwd" });
  assert.deepEqual(locate("/home/a/b", MOUNTS), { device: "8:2", root: "/a/b" });
  assert.deepEqual(locate("/home/tmp", MOUNTS), { device: "0:9", root: "/" });
  assert.deepEqual(locate("/home/tmpfile", MOUNTS), { device: "8:2", root: "/tmpfile" });
  assert.deepEqual(locate("/srv with space/y", MOUNTS), { device: "8:1", root: "/var/lib/x/y" });
});

test("a pid that was given to another process counts as ended", () => {
  const ticks = readStartTicks(process.pid) ?? "";
  assert.equal(hasEnded(process.pid, ticks), false);
  assert.equal(hasEnded(process.pid, "1"), true);
});

test("a process that ends between the look and the signal is as good as killed", (context) => {
  const ticks = readStartTicks(process.pid) ?? "";
  let code = "ESRCH";
  const kill = context.mock.method(process, "kill", () => {
    throw Object.assign(new Error(`kill ${code}`), { code });
  });
  killProcess(process.pid, ticks);
  code = "EPERM";
  assert.throws(() => killProcess(process.pid, ticks), { code });
  assert.equal(kill.mock.callCount(), 2);
  killProcess(process.pid, "1");
  assert.equal(kill.mock.callCount(), 2);
});
