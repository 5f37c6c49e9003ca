import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import dns from "node:dns";
import { Resolver as DnsResolver } from "node:dns/promises";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startDnsServer } from "./dns-server.fixture.ts";
import { runAlone } from "./own-network.fixture.ts";
import { RESOLUTION_DELAY_MS, RESOLVE_MS_MAX, serversResolver, systemResolver } from "./resolver.ts";
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

test("a server that is silent about one family holds up the other's addresses hardly at all", async () => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", ["192.0.2.1"]]]),
    silent: (_, type) => type === "AAAA",
  });
  const resolver = serversResolver([server.address], { resolveMsMax: 60_000 });
  assert.deepEqual(await resolver.resolve("a.example", forever), ["192.0.2.1"]);
});

test("an answer that is a little later than the other family's is waited for", async () => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", ["192.0.2.1", "2001:db8::1"]]]),
    isLast: (_, type) => type === "AAAA",
  });
  const found = await serversResolver([server.address]).resolve("a.example", forever);
  assert.deepEqual(found, ["2001:db8::1", "192.0.2.1"]);
});

test("A is waited for, however much later than AAAA it is: a host may have no IPv6", async () => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", ["192.0.2.1", "2001:db8::1"]]]),
    delayMs: (_, type) => (type === "A" ? 4 * RESOLUTION_DELAY_MS : 0),
  });
  const found = await serversResolver([server.address]).resolve("a.example", forever);
  assert.deepEqual(found, ["2001:db8::1", "192.0.2.1"]);
});

test("an alias without addresses of one family is no answer of it", async (t) => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", ["192.0.2.1"]]]),
    delayMs: (_, type) => (type === "A" ? 3 * RESOLUTION_DELAY_MS : 0),
  });
  // What c-ares makes of a CNAME that leads to no AAAA.
  t.mock.method(DnsResolver.prototype, "resolve6", async () => []);
  const resolver = serversResolver([server.address]);
  assert.deepEqual(await resolver.resolve("a.example", forever), ["192.0.2.1"]);
  t.mock.method(DnsResolver.prototype, "resolve4", async () => []);
  await assert.rejects(resolver.resolve("a.example", forever), isRefusal(/^a\.example has no address$/));
});

test("what failed is told, before that one family has nothing", async () => {
  await using server = await startDnsServer({
    answers: new Map([["a.example", []]]),
    silent: (_, type) => type === "A",
  });
  const resolver = serversResolver([server.address], { resolveMsMax: 200 });
  await assert.rejects(
    resolver.resolve("a.example", forever),
    isRefusal(/not resolved|could not be resolved/),
  );
});

test("a server that is none is an error of that question, and of nothing else", async () => {
  await assert.rejects(serversResolver(["10.0.0.53]:53"]).resolve("a.example", forever), Error);
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
  await assert.rejects(resolver.resolve("empty.example", forever), (error: unknown) => {
    assert.ok(error instanceof Refusal);
    assert.equal(error.message, "empty.example has no address");
    assert.match(error.remedy ?? "", /spelling, and the name servers/);
    return true;
  });
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
    const hosts = join(folder, "hosts");
    writeFileSync(
      hosts,
      "# 192.0.2.9 a.example\n192.0.2.1\tB.example a.example # c.example\n::1 a.example\nnonsense a.example\n",
    );
    const resolver = systemResolver({ hosts });
    assert.deepEqual(await resolver.resolve("a.example", forever), ["192.0.2.1", "::1"]);
    assert.deepEqual(await resolver.resolve("b.example", forever), ["192.0.2.1"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("getaddrinfo is asked where there is more than name servers, for the full name, which no search list changes", async (context) => {
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
  const [hosts, sources] = [join(folder, "hosts"), join(folder, "nsswitch.conf")];
  try {
    writeFileSync(hosts, "192.0.2.9 b.example # a.example\n");
    writeFileSync(sources, "# hosts: files dns\npasswd: files\nhosts: files resolve [!UNAVAIL=return] dns\n");
    const resolver = systemResolver({ hosts, sources });
    assert.deepEqual(await resolver.resolve("a.example", forever), ["2001:db8::1", "192.0.2.1"]);
    assert.deepEqual(asked, [{ name: "a.example.", all: true, order: "verbatim" }]);
    asked.length = 0;
    const nowhere = "/nonexistent/file";
    await systemResolver({ hosts: nowhere, sources: nowhere }).resolve("b.example", forever);
    assert.equal(asked.length, 1, "files that are not there say nothing");
    for (const line of ["hosts: files", "hosts: ldap dns", "hosts: files dns nis # dns"]) {
      writeFileSync(sources, `${line}\n`);
      await resolver.resolve("a.example", forever);
    }
    assert.equal(asked.length, 4);
    writeFileSync(sources, "hosts: files mdns4_minimal [NOTFOUND=return] dns\n");
    await resolver.resolve("printer.local", forever);
    assert.equal(asked.length, 5, "a name of the link is no name server's (RFC 6762 3)");
    failure = Object.assign(new Error("getaddrinfo EAI_AGAIN"), { code: "EAI_AGAIN" });
    await assert.rejects(
      resolver.resolve("printer.local", forever),
      isRefusal(/^printer\.local could not be resolved \(EAI_AGAIN\)$/),
    );
  } finally {
    context.mock.restoreAll();
    syncBuiltinESMExports();
    rmSync(folder, { recursive: true });
  }
});

test("the system's name servers are asked, and names that stall hold up no others", (t) => {
  if (!existsSync("/etc/resolv.conf")) return t.skip("this host has no resolv.conf");
  const folder = mkdtempSync(join(tmpdir(), "callgate-resolver-"));
  try {
    const [servers, sources] = [join(folder, "resolv.conf"), join(folder, "nsswitch.conf")];
    writeFileSync(servers, "search evil.example\nnameserver 127.0.0.1\n");
    writeFileSync(sources, "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname\n");
    const lines = runAlone(t, {
      namespaces: "-Urnm",
      setUp: 'mount --bind "$1" /etc/resolv.conf',
      given: [servers],
      program: new URL("resolver.system.fixture.ts", import.meta.url),
      words: [sources],
    });
    if (lines === undefined) return;
    assert.deepEqual(lines, [
      "fast.example: 192.0.2.1",
      "none.example: none.example has no address",
      ...Array.from({ length: 16 }, (_, at) => `stalls: s${at}.example was given up while it was resolved`),
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
