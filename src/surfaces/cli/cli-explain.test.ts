import assert from "node:assert/strict";
import { it } from "node:test";
import { Desk } from "./cli.fixture.ts";

it("exec --explain-seccomp says what was refused, in the result and in the record", async (test) => {
  const desk = new Desk(test);
  const command = ["--", "unshare", "--user", "true"];
  const usual = await desk.expect(1, "exec", ...command);
  assert.doesNotMatch(usual.err, /denied/);
  const reason = "EPERM, once: new namespaces reopen the kernel's surface to root of their own";
  const { err } = await desk.expect(1, "exec", "--explain-seccomp", ...command);
  assert.ok(err.includes(`denied  unshare: ${reason}\n`), err);
  const { out } = await desk.expect(0, "why");
  assert.ok(out.includes(`denied  unshare: ${reason}\n`), out);
  const { json } = await desk.json(1, "exec", "--explain-seccomp", ...command);
  assert.deepEqual(json["denials"], [{ kind: "syscall", what: "unshare", why: reason }]);
});

it("why tells what ended a call from what it was only refused", async (test) => {
  const desk = new Desk(test);
  const script = "unshare --user true; exec head -c 1G /dev/zero";
  await desk.expect(137, "exec", "--output", "64KiB", "--explain-seccomp", "--", "sh", "-c", script);
  const { out } = await desk.expect(0, "why");
  assert.match(out, /^✗ stopped/);
  assert.match(out, /^ +why +wrote more than 64 ?KiB/m);
  assert.match(out, /^ +denied +unshare: EPERM/m);
  assert.doesNotMatch(out, /^ +why +unshare/m);
});
