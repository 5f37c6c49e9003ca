import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { NO_ATTEMPTS, readAttempts } from "./attempts.ts";
import { GUARD_PROGRAM, startGuard } from "./guard.fixture.ts";
import type { GuardedNamespace } from "./guard.ts";

const options = { skip: existsSync(GUARD_PROGRAM) ? false : "native/guard.c was not built" };
const STEP_BACK = ["/usr/bin/setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--"];

function inside(space: GuardedNamespace, script: string): void {
  const join = [`--user=${space.userNamespace}`, `--net=${space.netNamespace}`, "--preserve-credentials"];
  const [program = "", ...words] = [
    ...(process.geteuid?.() === 0 ? STEP_BACK : []),
    ...["/usr/bin/nsenter", ...join, "--", "/usr/bin/bash", "-c", script],
  ];
  spawnSync(program, words, { stdio: "ignore" });
}

test("the kernel counts what never comes to the gate", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([{ address: "198.18.0.2", port: 443 }]);
  assert.deepEqual(readAttempts(space), NO_ATTEMPTS);
  inside(space, "cat < /dev/tcp/192.0.2.1/80; echo x > /dev/udp/192.0.2.1/53; cat < /dev/tcp/2001:db8::1/80");
  assert.deepEqual(readAttempts(space), { unroutable: 3, unheard: 0 });
  inside(
    space,
    "cat < /dev/tcp/198.18.0.2/80; cat < /dev/tcp/198.18.9.9/443; echo x > /dev/udp/198.18.0.2/443",
  );
  assert.deepEqual(readAttempts(space), { unroutable: 3, unheard: 3 });
});

test("of a namespace that is gone nothing is known", () => {
  assert.deepEqual(readAttempts({ pid: 2 ** 22 + 1, identity: "net:[1]" }), NO_ATTEMPTS);
});

test("where its keeper's number is another's, nothing of that one is told", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([]);
  await using other = await guard.make([]);
  inside(other, "cat < /dev/tcp/192.0.2.1/80");
  assert.equal(readAttempts(other).unroutable, 1);
  assert.deepEqual(readAttempts({ pid: other.pid, identity: space.identity }), NO_ATTEMPTS);
});
