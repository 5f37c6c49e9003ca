import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { test } from "node:test";
import { ADDRESSES_TRIED_MAX, type DialOptions, dial } from "./dial.ts";
import { startDnsServer } from "./dns-server.fixture.ts";
import { runAlone } from "./own-network.fixture.ts";
import { type Resolver, serversResolver } from "./resolver.ts";
import { Refusal } from "./visit.ts";

const PRIVATE = { allowPrivate: true } as const;

/** Says where it was reached, and goes on listening for the end. */
async function listen(host = "127.0.0.1"): Promise<{ server: Server; port: number } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.write(`at ${socket.localAddress}\n`);
    socket.on("end", () => socket.end("after the end\n")).resume();
  });
  server.listen(0, host);
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

function answering(...addresses: string[]): Resolver & { asked: number } {
  return {
    asked: 0,
    async resolve() {
      this.asked += 1;
      return addresses;
    },
  };
}

function options(resolver: Resolver, port: number, more: Partial<DialOptions> = {}): DialOptions {
  const signal = new AbortController().signal;
  return { name: "a.example", port, rule: PRIVATE, resolver, signal, connectMs: 5_000, ...more };
}

const isRefusal =
  (words: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof Refusal, String(error));
    assert.match(error.message, words);
    return true;
  };

/** A port of loopback on which nobody listens. */
async function freePort(): Promise<number> {
  const { port, ...held } = await listen();
  await held[Symbol.asyncDispose]();
  return port;
}

test("it connects to what the name stands for, half open, paused and without delay", async () => {
  await using target = await listen();
  const { socket, address } = await dial(options(answering("127.0.0.1"), target.port));
  assert.equal(address, "127.0.0.1");
  assert.equal(socket.isPaused(), true);
  assert.equal(socket.allowHalfOpen, true);
  socket.end("bye");
  assert.equal(String(Buffer.concat(await socket.toArray())), "at 127.0.0.1\nafter the end\n");
});

test("a caller's own buffer is read into, once it goes on", async () => {
  await using target = await listen();
  let read = "";
  const buffer = Buffer.alloc(64);
  const callback = (bytes: number): boolean => {
    read += buffer.toString("latin1", 0, bytes);
    return true;
  };
  const resolver = answering("127.0.0.9", "127.0.0.1");
  const { socket } = await dial(options(resolver, target.port, { onread: { buffer, callback } }));
  assert.equal(socket.isPaused(), true);
  assert.equal(read, "");
  socket.end("bye").resume();
  await once(socket, "close");
  assert.equal(read, "at 127.0.0.1\nafter the end\n");
});

test("a name that stands for what may not be reached is refused as a whole, and nothing is connected", async () => {
  const open = (): never => assert.fail("it connected");
  for (const [addresses, words] of [
    [["10.0.0.1"], /^a\.example stands for 10\.0\.0\.1, which is private \(10\.0\.0\.0\/8\)$/],
    [["192.0.0.100"], /for protocol assignments/],
    [["8.8.8.8", "127.0.0.1"], /stands for 127\.0\.0\.1, which is loopback/],
    [["2606:4700::1", "fd00:ec2::254"], /metadata/],
    [["8.8.8.8", "::ffff:127.0.0.1"], /IPv4-mapped/],
    [["8.8.8.8", "fe80::1%eth0"], /zone/],
    [[...Array.from({ length: 30 }, (_, at) => `8.8.8.${at}`), "10.0.0.1"], /10\.0\.0\.1/],
    [[], /^a\.example has no address$/],
  ] as const)
    await assert.rejects(dial(options(answering(...addresses), 443, { rule: {}, open })), isRefusal(words));
  for (const address of ["169.254.169.254", "198.18.0.2", "0.0.0.0", "224.0.0.1"])
    await assert.rejects(
      dial(options(answering("10.0.0.1", address), 443, { open })),
      isRefusal(new RegExp(`stands for ${address}`)),
    );
});

test("an address of this host is refused although it is public, unless the rule says allowPrivate", (t) => {
  if (!existsSync("/proc/net/if_inet6")) return t.skip("this kernel has no IPv6");
  const lines = runAlone(t, {
    namespaces: "-Urn",
    // One address of an interface in each family, and one that is only routed to this host.
    setUp: `ip addr add 8.8.8.8/32 dev lo && ip -6 addr add 2606:4700::1/128 dev lo nodad &&
      ip route add local 8.8.4.4/32 dev lo`,
    program: new URL("dial.own-addresses.fixture.ts", import.meta.url),
    words: ["8.8.8.8", "2606:4700:0::1", "8.8.4.4", "8.8.8.8,private", "8.8.4.4,private"],
  });
  if (lines === undefined) return;
  assert.deepEqual(lines, [
    "8.8.8.8: a.example stands for 8.8.8.8, which is an address of this host",
    "2606:4700:0::1: a.example stands for 2606:4700:0::1, which is an address of this host",
    "8.8.4.4: a.example stands for 8.8.4.4, which is an address of this host",
    "8.8.8.8,private: connected",
    "8.8.4.4,private: connected",
    // What is only routed here shows itself when it is connected, and nothing is sent to it.
    "reached 3 times",
  ]);
});

test("what a translator adds is left out where what it stands for is there, and refused where it is not", async () => {
  await using target = await listen();
  const { socket, address } = await dial(options(answering("64:ff9b::7f00:1", "127.0.0.1"), target.port));
  socket.destroy();
  assert.equal(address, "127.0.0.1");
  const open = (): never => assert.fail("it connected");
  await assert.rejects(
    dial(options(answering("64:ff9b::a00:1", "8.8.8.8"), 443, { rule: {}, open })),
    isRefusal(/64:ff9b::a00:1, which is NAT64/),
  );
});

test("a host that breaks off at once is told as that", async () => {
  await using target = await listen();
  // By the time it is told of the connection, the kernel knows of none any more.
  const open = (address: string, port: number): Socket => {
    const socket = connect(port, address);
    socket.prependOnceListener("connect", () => socket.destroy());
    return socket;
  };
  await assert.rejects(
    dial(options(answering("127.0.0.1"), target.port, { open })),
    isRefusal(/^a\.example broke the connection off at once$/),
  );
});

test("a way out is told where there is one", async () => {
  const open = (): never => assert.fail("it connected");
  const remedyOf = async (...addresses: string[]): Promise<string | undefined> => {
    try {
      await dial(options(answering(...addresses), 8443, { rule: {}, open }));
    } catch (error) {
      assert.ok(error instanceof Refusal);
      return error.remedy;
    }
    return assert.fail("it was dialled");
  };
  assert.match(
    (await remedyOf("10.0.0.1")) ?? "",
    /add `,private` to the `--net` of a\.example, or `allowPrivate: true`/,
  );
  assert.equal(await remedyOf("169.254.169.254"), undefined, "no rule leads there");
});

test("a literal is not looked up, and is held to the same", async () => {
  await using target = await listen();
  const resolver = answering("127.0.0.9");
  const { socket, address } = await dial(options(resolver, target.port, { name: "127.0.0.1" }));
  socket.destroy();
  assert.equal(address, "127.0.0.1");
  assert.equal(resolver.asked, 0);
  await assert.rejects(
    dial(options(resolver, target.port, { name: "127.0.0.1", rule: {} })),
    isRefusal(/^a rule may not lead to 127\.0\.0\.1, which is loopback \(127\.0\.0\.0\/8\)$/),
  );
  await assert.rejects(dial(options(resolver, 80, { name: "169.254.169.254" })), isRefusal(/metadata/));
});

test("a name that changes between two questions is asked once in a connection, and checked again in the next", async () => {
  await using target = await listen();
  const answers = new Map([["a.example", ["127.0.0.1"]]]);
  await using server = await startDnsServer({ answers });
  const resolver = serversResolver([server.address]);
  const { socket, address } = await dial(options(resolver, target.port));
  socket.destroy();
  assert.equal(address, "127.0.0.1");
  assert.deepEqual([...server.asked].sort(), ["a.example A", "a.example AAAA"], "once in each family");
  answers.set("a.example", ["169.254.169.254"]);
  await assert.rejects(dial(options(resolver, target.port)), isRefusal(/metadata/));
});

test("a socket that is connected elsewhere is not handed over", async () => {
  await using target = await listen("0.0.0.0");
  let opened: Socket | undefined;
  const open = (_: string, port: number): Socket => {
    opened = connect(port, "127.0.0.2");
    return opened;
  };
  await assert.rejects(
    dial(options(answering("127.0.0.1"), target.port, { open })),
    isRefusal(/another address than the one that was checked/),
  );
  assert.equal(opened?.destroyed, true);
});

test("what does not answer is followed by the next, beside it; the losers are ended", async () => {
  await using target = await listen();
  const hanging: Socket[] = [];
  const tried: string[] = [];
  const open = (address: string, port: number): Socket => {
    tried.push(address);
    if (address === "127.0.0.1") return connect(port, address);
    const socket = new Socket();
    hanging.push(socket);
    return socket;
  };
  const resolver = answering("::1", "fd00::1", "127.0.0.1");
  const { socket, address } = await dial(options(resolver, target.port, { open }));
  socket.destroy();
  assert.equal(address, "127.0.0.1");
  assert.deepEqual(tried, ["::1", "127.0.0.1"], "the families take turns");
  assert.ok(hanging.every(({ destroyed }) => destroyed));
});

test("what fails is followed by the next at once", async () => {
  await using target = await listen();
  const { socket, address } = await dial(
    options(answering("127.0.0.9", "127.0.0.8", "127.0.0.1"), target.port),
  );
  socket.destroy();
  assert.equal(address, "127.0.0.1");
});

test("the families take turns, none is tried twice, and few are tried", async () => {
  const tried: string[] = [];
  const open = (address: string): Socket => {
    tried.push(address);
    const socket = new Socket();
    process.nextTick(() => socket.destroy(Object.assign(new Error("no route"), { code: "ENETUNREACH" })));
    return socket;
  };
  const some = answering("10.0.0.1", "10.0.0.2", "FD00:0::1", "10.0.0.1", "10.0.0.3", "fd00::1");
  await assert.rejects(
    dial(options(some, 443, { open })),
    isRefusal(/^port 443 of a\.example could not be connected \(ENETUNREACH\)$/),
  );
  assert.deepEqual(tried, ["10.0.0.1", "fd00::1", "10.0.0.2", "10.0.0.3"]);
  tried.length = 0;
  const many = Array.from({ length: 100 }, (_, index) => `10.0.1.${index}`);
  await assert.rejects(dial(options(answering(...many), 443, { open })), isRefusal(/ENETUNREACH/));
  assert.deepEqual(tried, many.slice(0, ADDRESSES_TRIED_MAX));
});

test("a port on which nothing listens is told by the name", async () => {
  const port = await freePort();
  await assert.rejects(
    dial(options(answering("127.0.0.1"), port)),
    isRefusal(new RegExp(`^nothing listens on port ${port} of a\\.example$`)),
  );
});

test("what never answers is given up, as is what the sandbox does not wait for", async () => {
  const hanging: Socket[] = [];
  const open = (): Socket => {
    const socket = new Socket();
    hanging.push(socket);
    return socket;
  };
  await assert.rejects(
    dial(options(answering("10.0.0.1"), 443, { open, connectMs: 30 })),
    isRefusal(/^a\.example did not answer on port 443 within 30 ms$/),
  );
  const controller = new AbortController();
  const dialing = dial(
    options(answering("10.0.0.1"), 443, {
      signal: controller.signal,
      open: () => {
        process.nextTick(() => controller.abort());
        return open();
      },
    }),
  );
  await assert.rejects(dialing, isRefusal(/^port 443 of a\.example was given up/));
  const none = { open: (): never => assert.fail("it connected"), signal: AbortSignal.abort() };
  await assert.rejects(dial(options(answering("10.0.0.1"), 443, none)), isRefusal(/given up/));
  assert.equal(hanging.length, 2);
  assert.ok(hanging.every(({ destroyed }) => destroyed));
});

test("what no resolver finds is refused in its words", async () => {
  const resolver: Resolver = { resolve: () => Promise.reject(new Refusal("a.example has no address")) };
  await assert.rejects(dial(options(resolver, 443)), isRefusal(/^a\.example has no address$/));
});
