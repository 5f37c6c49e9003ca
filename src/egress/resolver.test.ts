import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import dns from "node:dns";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startDnsServer } from "./dns-server.fixture.ts";
import { RESOLVE_MS_MAX, serversResolver, systemResolver } from "./resolver.ts";
import { Refusal } from "./visit.ts";

const forever = new AbortController().signal;
const isRefusal =
  (words: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof Refusal, String(error));
    assert.match(error.message, words);
    return true;
  };

/** Reads what comes and says nothing. */
async function startSilentServer(): Promise<{ address: string; asked: Promise<unknown> } & AsyncDisposable> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked: once(socket, "message"),
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, "close");
    },
  };
}

test("both families are asked for, of the servers that were named, by the full name", async () => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", ["192.0.2.1", "2001:db8::1", "192.0.2.2"]]]),
  });
  const found = await serversResolver([server.address]).resolve("a.example", forever);
  assert.deepEqual(found, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
  assert.deepEqual([...server.asked].sort(), ["a.example A", "a.example AAAA"]);
});

test("one family may have nothing", async () => {
  const answers = new Map([
    ["four.example", ["192.0.2.1"]],
    ["six.example", ["2001:db8::1"]],
  ]);
  await using server = await startDnsServer({ answers });
  const resolver = serversResolver([server.address]);
  assert.deepEqual(await resolver.resolve("four.example", forever), ["192.0.2.1"]);
  assert.deepEqual(await resolver.resolve("six.example", forever), ["2001:db8::1"]);
});

test("nothing is kept from one question to the next", async () => {
  const answers = new Map([["a.example", ["192.0.2.1"]]]);
  await using server = await startDnsServer({ answers });
  const resolver = serversResolver([server.address]);
  assert.deepEqual(await resolver.resolve("a.example", forever), ["192.0.2.1"]);
  answers.set("a.example", ["127.0.0.1"]);
  assert.deepEqual(await resolver.resolve("a.example", forever), ["127.0.0.1"]);
});

test("a name that is not there, or has no address, is refused", async () => {
  await using server = await startDnsServer({ answers: new Map([["empty.example", []]]) });
  const resolver = serversResolver([server.address]);
  await assert.rejects(
    resolver.resolve("none.example", forever),
    isRefusal(/^none\.example has no address$/),
  );
  await assert.rejects(
    resolver.resolve("empty.example", forever),
    isRefusal(/^empty\.example has no address$/),
  );
});

test("a server that is not there is a refusal with its reason", async () => {
  const server = await startSilentServer();
  await server[Symbol.asyncDispose]();
  await assert.rejects(
    serversResolver([server.address]).resolve("a.example", forever),
    isRefusal(/^a\.example could not be resolved \(E[A-Z]+\)$/),
  );
});

test("a server that does not answer is given up", async () => {
  await using server = await startSilentServer();
  const resolver = serversResolver([server.address], { resolveMsMax: 50 });
  await assert.rejects(
    resolver.resolve("a.example", forever),
    isRefusal(/^a\.example was not resolved within 50 ms$/),
  );
  assert.equal(RESOLVE_MS_MAX, 5_000);
});

test("resolving ends with the sandbox", async () => {
  await using server = await startSilentServer();
  const controller = new AbortController();
  const resolving = serversResolver([server.address]).resolve("a.example", controller.signal);
  await server.asked;
  controller.abort();
  await assert.rejects(resolving, isRefusal(/^a\.example was given up while it was resolved$/));
  await assert.rejects(
    serversResolver([server.address]).resolve("a.example", controller.signal),
    isRefusal(/given up/),
  );
});

test("the system's resolver reads the hosts file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-hosts-"));
  try {
    const hostsFile = join(folder, "hosts");
    writeFileSync(
      hostsFile,
      "# 192.0.2.9 a.example\n192.0.2.1\tB.example a.example # c.example\n::1 a.example\nnonsense a.example\n",
    );
    const resolver = systemResolver({ hostsFile });
    assert.deepEqual(await resolver.resolve("a.example", forever), ["192.0.2.1", "::1"]);
    assert.deepEqual(await resolver.resolve("b.example", forever), ["192.0.2.1"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the system is asked for the full name, which no search list changes", async (context) => {
  const asked: unknown[] = [];
  let failure: Error | null = null;
  context.mock.method(
    dns,
    "lookup",
    (name: string, options: object, done: (...result: unknown[]) => void) => {
      asked.push({ name, ...options });
      done(failure, [{ address: "2001:db8::1" }, { address: "192.0.2.1" }]);
    },
  );
  syncBuiltinESMExports();
  const folder = mkdtempSync(join(tmpdir(), "callgate-hosts-"));
  const hostsFile = join(folder, "hosts");
  try {
    writeFileSync(hostsFile, "192.0.2.9 b.example # a.example\n");
    const resolver = systemResolver({ hostsFile });
    assert.deepEqual(await resolver.resolve("a.example", forever), ["2001:db8::1", "192.0.2.1"]);
    assert.deepEqual(asked, [{ name: "a.example.", all: true, order: "verbatim" }]);
    asked.length = 0;
    await systemResolver({ hostsFile: "/nonexistent/hosts" }).resolve("b.example", forever);
    assert.equal(asked.length, 1, "a hosts file that is not there lists nothing");
    failure = Object.assign(new Error("getaddrinfo EAI_AGAIN"), { code: "EAI_AGAIN" });
    await assert.rejects(
      resolver.resolve("a.example", forever),
      isRefusal(/^a\.example could not be resolved \(EAI_AGAIN\)$/),
    );
  } finally {
    context.mock.restoreAll();
    syncBuiltinESMExports();
    rmSync(folder, { recursive: true });
  }
});
