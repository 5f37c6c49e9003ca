import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GUARD_PROGRAM, startGuard } from "./guard.fixture.ts";
import type { GuardedNamespace } from "./guard.ts";
import { isClean, KEPT_MAX, KeptNamespaces } from "./kept-namespaces.ts";

const options = { skip: existsSync(GUARD_PROGRAM) ? false : "native/guard.c was not built" };
const NAMES = [{ address: "198.18.0.2", port: 443 }];

/** Something of a tool's that is still in there. */
async function lingering(space: GuardedNamespace, script: string): Promise<Disposable> {
  const stepBack = ["/usr/bin/setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--"];
  const join = [
    `--user=${space.userNamespace}`,
    `--net=${space.netNamespace}`,
    "--preserve-credentials",
    "--",
  ];
  const [program = "", ...words] = [
    ...(process.geteuid?.() === 0 ? stepBack : []),
    ...[
      "/usr/bin/nsenter",
      ...join,
      "/usr/bin/perl",
      "-MIO::Socket::INET",
      "-e",
      `$| = 1; ${script}; print "up\\n"; sleep 60`,
    ],
  ];
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

test("the next of the same owner gets it, and nobody else", options, async () => {
  await using guard = startGuard();
  await using kept = new KeptNamespaces();
  const space = await guard.make(NAMES);
  await kept.giveBack("ada", space);
  assert.equal(kept.take("eve"), undefined);
  assert.equal(kept.take("ada"), space);
  assert.equal(kept.take("ada"), undefined, "once");
  await kept.giveBack(undefined, space);
  assert.equal(
    [...space.servers.values()].some(({ listening }) => listening),
    false,
    "without an owner it is closed",
  );
});

for (const [what, script] of [
  ["a listener", 'our $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:4000", Listen => 1) or die'],
  [
    "a datagram socket",
    'our $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:4000", Proto => "udp") or die',
  ],
  ["a connection to the gate", 'our $s = IO::Socket::INET->new(PeerAddr => "198.18.0.2:443") or die'],
] as const) {
  test(`with ${what} in it, it is not kept`, options, async () => {
    await using guard = startGuard();
    await using kept = new KeptNamespaces();
    const space = await guard.make(NAMES);
    assert.equal(isClean(space), true);
    using _ = await lingering(space, script);
    assert.equal(isClean(space), false);
    await kept.giveBack("ada", space);
    assert.equal(kept.take("ada"), undefined);
  });
}

test("one whose keeper has ended is not handed out", options, async () => {
  await using guard = startGuard();
  await using kept = new KeptNamespaces();
  const space = await guard.make(NAMES);
  await kept.giveBack("ada", space);
  process.kill(space.pid, "SIGKILL");
  for (let tries = 0; tries < 500 && space.alive; tries += 1) await sleep(10);
  assert.equal(kept.take("ada"), undefined);
  assert.equal(isClean(space), false);
  await kept.giveBack("eve", await guard.make(NAMES));
  const [server] = space.servers.values();
  assert.equal(server?.listening, false, "its sockets do not wait for the end");
});

test("one whose keeper's number is another's is not kept, however clean that one is", options, async () => {
  await using guard = startGuard();
  await using kept = new KeptNamespaces();
  await using other = await guard.make(NAMES);
  const space = await guard.make(NAMES);
  const mistaken = { ...space, pid: other.pid };
  assert.equal(isClean(mistaken), false);
  await kept.giveBack("ada", mistaken);
  assert.equal(kept.take("ada"), undefined);
});

test("there are no more than there may be, and none after the end", options, async () => {
  await using guard = startGuard();
  const kept = new KeptNamespaces();
  const spaces = await Promise.all(Array.from({ length: KEPT_MAX + 1 }, () => guard.make(NAMES)));
  for (const [index, space] of spaces.entries()) await kept.giveBack(`${index}`, space);
  assert.equal(kept.take("0"), undefined, "the oldest went");
  assert.equal(kept.take("1"), spaces[1]);
  await kept[Symbol.asyncDispose]();
  await kept.giveBack("1", spaces[1] as GuardedNamespace);
  assert.equal(kept.take("1"), undefined);
  const open = spaces.flatMap(({ servers }) => [...servers.values()]).filter(({ listening }) => listening);
  assert.deepEqual(open, []);
});
