import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../contract/errors.ts";
import { GUARD_PROGRAM, startGuard } from "./guard.fixture.ts";
import { Guard, type GuardedNamespace } from "./guard.ts";

const options = { skip: existsSync(GUARD_PROGRAM) ? false : "native/guard.c was not built" };
const NAMES = [
  { address: "198.18.0.2", port: 443 },
  { address: "198.18.0.3", port: 5432 },
];

/** Runs bash in the namespaces, as somebody who may join them and has no right there afterwards. */
async function inside(space: GuardedNamespace, script: string): Promise<string> {
  const stepBack = ["/usr/bin/setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--"];
  const enter = ["/usr/bin/nsenter", `--user=${space.userNamespace}`, `--net=${space.netNamespace}`];
  const [program = "", ...words] = [
    ...(process.geteuid?.() === 0 ? stepBack : []),
    ...[...enter, "--preserve-credentials", "--", "/usr/bin/bash", "-c", script],
  ];
  const child = spawn(program, words, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/usr/sbin:/bin:/sbin" },
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk));
  await new Promise((done) => child.on("close", done));
  return output;
}

/** Waits until it holds, within a time that only a fault exceeds. */
async function eventually(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !holds(); tries += 1) await sleep(10);
  assert.ok(holds());
}

test("what connects inside is accepted outside, by the address it was made to", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make(NAMES);
  for (const [at, server] of space.servers) server.on("connection", (socket) => socket.end(`this is ${at}`));
  assert.deepEqual([...space.servers.keys()].sort(), ["198.18.0.2:443", "198.18.0.3:5432"]);
  assert.equal(await inside(space, "cat < /dev/tcp/198.18.0.3/5432"), "this is 198.18.0.3:5432");
  assert.equal(await inside(space, "cat < /dev/tcp/198.18.0.2/443"), "this is 198.18.0.2:443");
});

test(
  "a connection that cannot be accepted, for want of descriptors say, is not the gate's end",
  options,
  async () => {
    await using guard = startGuard();
    await using space = await guard.make(NAMES);
    // As net.Server tells a failed accept(2).
    for (const server of space.servers.values()) server.emit("error", new Error("accept EMFILE"));
    for (const server of space.servers.values())
      server.on("connection", (socket) => socket.end("still here"));
    assert.equal(await inside(space, "cat < /dev/tcp/198.18.0.2/443"), "still here");
  },
);

test("what has no listener is refused at once, and what is not local does not exist", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make(NAMES);
  assert.match(await inside(space, "cat < /dev/tcp/198.18.0.2/444"), /Connection refused/);
  assert.match(await inside(space, "cat < /dev/tcp/198.18.9.9/443"), /Connection refused/);
  assert.match(await inside(space, "cat < /dev/tcp/192.0.2.1/443"), /Network is unreachable/);
  assert.match(await inside(space, "cat < /dev/tcp/2001:db8::1/443"), /Network is unreachable/);
});

test(
  "datagrams reach the resolver, and its answers come from the address that was asked",
  options,
  async () => {
    await using guard = startGuard();
    await using space = await guard.make([]);
    space.dns.on("message", (asked, { port, address }) => space.dns.send(`heard ${asked}`, port, address));
    const script = "exec 5<>/dev/udp/198.18.0.1/53; printf hello >&5; head -c 11 <&5";
    assert.equal(await inside(space, script), "heard hello");
  },
);

test("the ports of the gate's names stay free on the tool's own loopback", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([{ address: "198.18.0.2", port: 5432 }]);
  const own = `perl -MIO::Socket::INET -e '
    my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:5432", Listen => 1) or die "taken: $!";
    my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1:5432"); print $c ? "own" : "none"'`;
  assert.equal(await inside(space, own), "own");
});

test("an address outside of the block is local only where it was asked for", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([{ address: "203.0.113.7", port: 22 }], ["203.0.113.7"]);
  space.servers.get("203.0.113.7:22")?.on("connection", (socket) => socket.end("literal"));
  assert.equal(await inside(space, "cat < /dev/tcp/203.0.113.7/22"), "literal");
  assert.match(await inside(space, "cat < /dev/tcp/203.0.113.8/22"), /Network is unreachable/);
});

test("who joins has no right over it", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([]);
  const nested = (command: string): string => `unshare --user --map-root-user -- ${command}`;
  assert.match(await inside(space, nested("ip addr add 198.18.5.5/32 dev lo")), /not permitted/);
  assert.match(await inside(space, nested("ip route add default dev lo")), /not permitted/);
  assert.match(await inside(space, nested("ip link set lo down")), /not permitted/);
});

test("it is the sandbox's user's, in a network of its own", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make([]);
  assert.notEqual(readlinkSync(space.netNamespace), readlinkSync("/proc/self/ns/net"));
  assert.equal(space.identity, readlinkSync(space.netNamespace));
  const pid = /\d+/.exec(space.netNamespace)?.[0];
  const uid = process.geteuid?.() === 0 ? 65_533 : process.geteuid?.();
  const map = readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).map(Number);
  assert.deepEqual(map, [uid, uid, 1]);
  // It lets go of them once it has told its number.
  await eventually(() => readdirSync(`/proc/${pid}/fd`).length === 0);
});

test("closing it ends its keeper and its listeners", options, async () => {
  await using guard = startGuard();
  const space = await guard.make(NAMES);
  await space[Symbol.asyncDispose]();
  await eventually(() => !space.alive);
  assert.equal(existsSync(space.netNamespace), false);
  assert.deepEqual(
    [...space.servers.values()].map(({ listening }) => listening),
    [false, false],
  );
});

test("a keeper that is killed is told, and its guard goes on", options, async () => {
  await using guard = startGuard();
  await using space = await guard.make(NAMES);
  assert.equal(space.alive, true);
  process.kill(space.pid, "SIGKILL");
  await eventually(() => !space.alive);
  await using next = await guard.make(NAMES);
  assert.ok(existsSync(next.netNamespace));
});

test("namespaces are gone with a gateway that is killed", options, async () => {
  const holder = spawn(process.execPath, [`${import.meta.dirname}/guard.holder.fixture.ts`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = await holder.stdout.take(1).toArray();
  const paths = String(said).trim().split(" ");
  assert.equal(paths.length, 2);
  assert.ok(paths.every((path) => existsSync(path)));
  holder.kill("SIGKILL");
  await eventually(() => paths.every((path) => !existsSync(path)));
});

test("many are made at once, each with its own sockets", options, async () => {
  await using guard = startGuard();
  const spaces = await Promise.all(Array.from({ length: 24 }, () => guard.make(NAMES)));
  assert.equal(new Set(spaces.map(({ netNamespace }) => readlinkSync(netNamespace))).size, 24);
  assert.ok(spaces.every(({ servers }) => servers.size === 2));
  await Promise.all(spaces.map((space) => space[Symbol.asyncDispose]()));
});

test("what cannot be made is an error with the kernel's reason, and leaves nothing", options, async () => {
  await using guard = startGuard();
  await assert.rejects(guard.make([{ address: "192.0.2.1", port: 443 }]), (error) => {
    assert.ok(error instanceof GateError);
    assert.equal(error.code, "ERR_SANDBOX_START");
    assert.match(error.message, /192\.0\.2\.1:443: EADDRNOTAVAIL/);
    return true;
  });
  await assert.rejects(guard.make([{ address: "198.18.0.2", port: 70_000 }]), /number: EINVAL/);
  await assert.rejects(guard.make([{ address: "198.18.0.256", port: 1 }]), /address: EINVAL/);
  await using next = await guard.make(NAMES);
  assert.equal(next.servers.size, 2);
});

/** Stands in for the guard: port 1 is never answered, any other cannot be made. It tells its pid, and how many it ended. */
function fakeGuard(folder: string): string {
  const program = `${folder}/guard`;
  const source = `#!/usr/bin/perl
    open my $channel, '>&=', 3; $channel->autoflush(1); $/ = "\\0\\0"; my $ended = 0;
    while (<STDIN>) { chomp; my ($id, @words) = split /\\0/;
      if ($words[0] eq 'end') { $ended++ }
      elsif (!grep { /:1$/ } @words) { print $channel qq({"id":"$id","failed":"fork $$ $ended","errno":11}\\n) } }
  `;
  writeFileSync(program, source, { mode: 0o755 });
  return program;
}

const madeBy = async (guard: Guard, port: number): Promise<string> =>
  await guard.make([{ address: "198.18.0.2", port }]).then(
    () => assert.fail("it was made"),
    (error: Error) => error.message.replace("the sandbox's network could not be made: ", ""),
  );

test("one that takes too long is ended, and a guard that says nothing is replaced", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-guard-"));
  t.after(() => rmSync(folder, { recursive: true }));
  await using guard = new Guard({ program: fakeGuard(folder), makeMsMax: 2_000 });
  const slow = madeBy(guard, 1);
  const first = await madeBy(guard, 2);
  assert.match(first, /^fork \d+ 0: EAGAIN$/);
  const pid = first.split(" ")[1];
  assert.equal(await slow, "it takes more than 2000 ms");
  // Both were ended: the one that failed, and the one that was given up.
  assert.equal(await madeBy(guard, 2), `fork ${pid} 2: EAGAIN`);
  assert.equal(await madeBy(guard, 1), "it takes more than 2000 ms");
  const next = await madeBy(guard, 2);
  assert.match(next, /^fork \d+ 0: EAGAIN$/);
  assert.notEqual(next, first);
});

test("what could not be made keeps nobody from ending", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-guard-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const script = `const { Guard } = await import(${JSON.stringify(`${import.meta.dirname}/guard.ts`)});
    await new Guard({ program: ${JSON.stringify(fakeGuard(folder))} }).make([]).catch(({ message }) => console.log(message));`;
  const words = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, {
    encoding: "utf8",
    timeout: 20_000,
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /fork \d+ 0: EAGAIN/);
});

test("more sockets than may be under way at a time arrive all the same", options, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-guard-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = `${folder}/guard`;
  writeFileSync(program, `#!/bin/sh\nulimit -n 24\nexec ${GUARD_PROGRAM}\n`, { mode: 0o755 });
  const user = process.geteuid?.() === 0 ? { user: { uid: 65_533, gid: 65_533 } } : {};
  await using guard = new Guard({ program, ...user });
  const many = Array.from({ length: 200 }, (_, index) => ({ address: "198.18.0.2", port: 1_000 + index }));
  const making = guard.make(many);
  // Nobody takes them meanwhile (unix(7), ETOOMANYREFS).
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await using space = await making;
  assert.equal(space.servers.size, 200);
});

test("root owns no sandbox's network", options, async () => {
  await using guard = new Guard({ program: GUARD_PROGRAM, user: { uid: 0, gid: 0 } });
  await assert.rejects(guard.make([]), /identity|root|EPERM/);
});

test("a guard that is not there is an error, not a crash", options, async () => {
  await using guard = new Guard({ program: "/nonexistent/guard" });
  await assert.rejects(guard.make([]), /ENOENT/);
  await assert.rejects(guard.make([]), /ENOENT/, "and again");
});
