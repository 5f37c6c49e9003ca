import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Bounds } from "./bounds.ts";
import { heard, listening } from "./pass-through.fixture.ts";
import { type Relayed, type RelayOptions, relay } from "./relay.ts";
import { StaticReads } from "./static-reads.ts";
import { Refusal } from "./visit.ts";

/** More than all the kernel's buffers on the way take. */
const LARGE_BYTES = 48 * 1024 ** 2;
/** One read of either kind, and what a stream takes before it says that it is full. */
const HELD_BYTES_MAX = 512 * 1024;

interface Path extends AsyncDisposable {
  readonly tool: Socket;
  readonly inside: Socket;
  readonly outside: Socket;
  readonly host: Socket;
  readonly relayed: Promise<Relayed>;
  readonly gone: AbortController;
}

async function joined(reads?: StaticReads): Promise<readonly [Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const port = await listening(server);
  const onread = reads === undefined ? {} : { onread: reads.onread };
  const client = connect({ host: "127.0.0.1", port, allowHalfOpen: true, ...onread });
  client.pause();
  const [[accepted]] = await Promise.all([once(server, "connection"), once(client, "connect")]);
  server.close();
  return [client, accepted];
}

async function openPath(isStatic: boolean, options: Partial<RelayOptions> = {}): Promise<Path> {
  const reads = isStatic ? new StaticReads() : undefined;
  const [tool, inside] = await joined();
  const [outside, host] = await joined(reads);
  const gone = new AbortController();
  const relayed = relay(inside, outside, {
    head: Buffer.alloc(0),
    bounds: new Bounds(),
    idleMs: 60_000,
    signal: gone.signal,
    ...(reads === undefined ? {} : { reads }),
    ...options,
  });
  return {
    tool,
    inside,
    outside,
    host,
    relayed,
    gone,
    async [Symbol.asyncDispose]() {
      for (const socket of [tool, inside, outside, host]) socket.destroy();
      await relayed;
    },
  };
}

/** Reads a little at a time and lets everybody else go on in between. */
async function readSlowly(socket: Socket, watch: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk);
    await turn();
    watch();
  }
  return Buffer.concat(chunks);
}

for (const kind of ["plain", "static"])
  describe(`a relay whose outside reads in the ${kind} way`, () => {
    const open = (options?: Partial<RelayOptions>): Promise<Path> => openPath(kind === "static", options);

    test("carries both ways at once, the head first, and counts", async () => {
      await using path = await open({ head: Buffer.from("head") });
      const up = randomBytes(3_000_001);
      const down = randomBytes(5_000_003);
      path.tool.end(up);
      path.host.end(down);
      const [atHost, atTool] = await Promise.all([heard(path.host), heard(path.tool)]);
      assert.ok(atHost.bytes.equals(Buffer.concat([Buffer.from("head"), up])));
      assert.ok(atTool.bytes.equals(down));
      assert.deepEqual(await path.relayed, { sent: up.length + 4, received: down.length, end: "closed" });
    });

    test("passes the tool's FIN on while the host goes on", async () => {
      await using path = await open();
      path.tool.end("question");
      path.host.resume();
      await once(path.host, "end");
      path.host.end("answer");
      assert.deepEqual(await heard(path.tool), { bytes: Buffer.from("answer"), reset: false });
      assert.deepEqual(await path.relayed, { sent: 8, received: 6, end: "closed" });
    });

    test("passes the host's FIN on while the tool goes on", async () => {
      await using path = await open();
      path.host.end("greeting");
      path.tool.resume();
      await once(path.tool, "end");
      path.tool.end("more");
      assert.deepEqual(await heard(path.host), { bytes: Buffer.from("more"), reset: false });
      assert.deepEqual(await path.relayed, { sent: 4, received: 8, end: "closed" });
    });

    test("passes a reset of the tool on as one", async () => {
      await using path = await open();
      path.tool.write("x");
      path.host.resume();
      await once(path.host, "data");
      path.tool.resetAndDestroy();
      assert.equal((await heard(path.host)).reset, true);
      assert.equal((await path.relayed).end, "reset-inside");
    });

    test("passes a reset of the host on as one", async () => {
      await using path = await open();
      path.host.resetAndDestroy();
      assert.equal((await heard(path.tool)).reset, true);
      assert.equal((await path.relayed).end, "reset-outside");
    });

    test("holds little for a tool that reads slowly, and loses nothing", async () => {
      await using path = await open();
      const down = randomBytes(LARGE_BYTES);
      path.host.end(down);
      let held = 0;
      const got = await readSlowly(path.tool, () => {
        held = Math.max(held, path.inside.writableLength + path.outside.readableLength);
      });
      path.tool.end();
      assert.ok(got.equals(down));
      assert.ok(held <= HELD_BYTES_MAX, `${held} bytes`);
      assert.equal((await path.relayed).end, "closed");
    });

    test("holds little for a host that reads slowly, and loses nothing", async () => {
      await using path = await open();
      const up = randomBytes(LARGE_BYTES);
      path.tool.end(up);
      let held = 0;
      const got = await readSlowly(path.host, () => {
        held = Math.max(held, path.outside.writableLength + path.inside.readableLength);
      });
      path.host.end();
      assert.ok(got.equals(up));
      assert.ok(held <= HELD_BYTES_MAX, `${held} bytes`);
      assert.equal((await path.relayed).end, "closed");
    });

    test("ends with a reset of both once nothing has moved for long", async () => {
      await using path = await open({ idleMs: 20 });
      const [atHost, atTool] = await Promise.all([heard(path.host), heard(path.tool)]);
      assert.deepEqual([atHost.reset, atTool.reset], [true, true]);
      const { end, why } = await path.relayed;
      assert.deepEqual([end, why], ["idle", "nothing moved for 20 ms"]);
    });

    test("ends once more is sent than its bound", async () => {
      await using path = await open({ bounds: new Bounds({ bytesSent: 10 }) });
      path.tool.write("more than ten bytes");
      const atHost = await heard(path.host);
      assert.deepEqual([atHost.bytes.length, atHost.reset], [0, true]);
      const { end, why } = await path.relayed;
      assert.deepEqual([end, why], ["bytes", "more than 10 bytes sent"]);
    });

    test("ends once more is received than its bound", async () => {
      await using path = await open({ bounds: new Bounds({ bytesReceived: 10 }) });
      path.host.write("more than ten bytes");
      const atTool = await heard(path.tool);
      assert.deepEqual([atTool.bytes.length, atTool.reset], [0, true]);
      const { end, why } = await path.relayed;
      assert.deepEqual([end, why], ["bytes", "more than 10 bytes received"]);
    });

    test("ends where what is sent is refused, which nothing of it gets past", async () => {
      const inspect = (chunk: Buffer): void => {
        if (chunk.includes("no")) throw new Refusal("not that");
      };
      await using path = await open({ inspect });
      path.tool.write("no");
      assert.deepEqual(await heard(path.host), { bytes: Buffer.alloc(0), reset: true });
      assert.deepEqual(await path.relayed, { sent: 2, received: 0, end: "refused", why: "not that" });
    });

    test("ends when the sandbox is gone", async () => {
      await using path = await open();
      path.gone.abort();
      const [atHost, atTool] = await Promise.all([heard(path.host), heard(path.tool)]);
      assert.deepEqual([atHost.reset, atTool.reset], [true, true]);
      assert.equal((await path.relayed).end, "gone");
    });

    test("ends at once though neither end reads", async () => {
      await using path = await open();
      path.host.write(Buffer.alloc(LARGE_BYTES));
      path.tool.write(Buffer.alloc(LARGE_BYTES));
      while (path.inside.writableLength === 0 || path.outside.writableLength === 0) await turn();
      path.gone.abort();
      assert.equal((await path.relayed).end, "gone");
    });

    test("passes on an end that came before it began", async () => {
      const reads = kind === "static" ? new StaticReads() : undefined;
      const [tool, inside] = await joined();
      const [outside, host] = await joined(reads);
      host.end();
      outside.resume();
      await once(outside, "end");
      outside.pause();
      const options = { head: Buffer.alloc(0), bounds: new Bounds(), idleMs: 60_000 };
      const relayed = relay(inside, outside, { ...options, signal: new AbortController().signal });
      tool.resume();
      await once(tool, "end");
      tool.end();
      assert.equal((await relayed).end, "closed");
      host.destroy();
    });

    test("sends nothing where the sandbox was gone before", async () => {
      await using path = await open({ head: Buffer.from("head"), signal: AbortSignal.abort() });
      assert.deepEqual(await heard(path.host), { bytes: Buffer.alloc(0), reset: true });
      assert.deepEqual(await path.relayed, { sent: 0, received: 0, end: "gone" });
    });
  });

test("what moves either way puts the idle bound off", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  await using path = await openPath(true, { idleMs: 1_000 });
  for (const [from, to] of [
    [path.tool, path.host],
    [path.host, path.tool],
    [path.tool, path.host],
  ] as const) {
    to.resume();
    from.write("x");
    await once(to, "data");
    t.mock.timers.tick(1_000);
  }
  assert.equal(path.inside.destroyed, false);
  t.mock.timers.tick(1_000);
  assert.equal((await path.relayed).end, "idle");
});

test("sockets that are closed already end it", async () => {
  const [, inside] = await joined();
  const [outside] = await joined();
  for (const socket of [inside, outside]) {
    socket.destroy();
    await once(socket, "close");
  }
  const options = { head: Buffer.from("x"), bounds: new Bounds(), idleMs: 1_000 };
  const relayed = await relay(inside, outside, { ...options, signal: new AbortController().signal });
  assert.equal(relayed.end, "reset-inside");
  assert.equal(relayed.sent, 0);
});

test("what was read before a relay began is not lost in silence", async () => {
  const reads = new StaticReads();
  const [client, accepted] = await joined(reads);
  client.resume();
  accepted.write("early");
  while (client.bytesRead === 0) await turn();
  assert.throws(() => reads.use(() => true), /was read before its relay began/);
  client.destroy();
  accepted.destroy();
});
