import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import * as tls from "node:tls";
import { type HttpDoor, heard, NAME, openHttpDoor, own, stranger } from "./http.fixture.ts";
import { PIPELINED_MAX } from "./http-session.ts";

const RULE = { http: [{ methods: ["GET", "POST"], paths: ["/**"] }] };
const GET = `GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`;

function silent(socket: Socket): void {
  socket.on("error", () => {}).resume();
}

/** How a client's handshake fails. */
async function failure(door: HttpDoor, options: tls.ConnectionOptions): Promise<string> {
  const client = tls.connect({
    host: "127.0.0.1",
    port: door.port,
    servername: NAME,
    ca: own.pem,
    ...options,
  });
  const [error] = await once(client, "error");
  client.destroy();
  return error.code;
}

function whyOf(door: HttpDoor): string {
  const connections = door.facts.filter(({ kind }) => kind === "connection");
  assert.equal(connections.length, 1);
  return `${connections[0]?.verdict}: ${connections[0]?.why}`;
}

for (const [what, options, code, why] of [
  ["another name", { servername: "other.test" }, /UNRECOGNIZED_NAME/i, /names `other\.test`/],
  ["only HTTP/2", { ALPNProtocols: ["h2"] }, /NO_APPLICATION_PROTOCOL/, /TLS was not agreed/],
  [
    "TLS 1.1",
    { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
    /./,
    /TLS was not agreed/,
  ],
  ["no trust in the gate's authority", { ca: stranger.pem }, /UNABLE|CERT|SELF/, /./],
] as const)
  test(`a client with ${what} is turned away, and nothing is dialled`, async () => {
    await using door = await openHttpDoor(silent, { rule: RULE });
    assert.match(await failure(door, options), code);
    await door.over();
    assert.match(whyOf(door), why);
    assert.equal(door.dials(), 0);
  });

test("a client that offers HTTP/2 and HTTP/1.1 gets HTTP/1.1", async () => {
  await using door = await openHttpDoor(silent, { rule: RULE });
  const options = { servername: NAME, ca: own.pem, ALPNProtocols: ["h2", "http/1.1"] };
  const client = tls.connect({ host: "127.0.0.1", port: door.port, ...options });
  await once(client, "secureConnect");
  assert.equal(client.alpnProtocol, "http/1.1");
  client.destroy();
});

test("HTTP in the clear where TLS is wanted is refused", async () => {
  await using door = await openHttpDoor(silent, { rule: RULE });
  const socket = connect(door.port, "127.0.0.1").on("error", () => {});
  socket.write(GET);
  assert.equal(await heard(socket), "");
  await door.over();
  assert.match(whyOf(door), /^refused: .*HTTP in the clear/);
});

for (const protocol of ["tls", "http"] as const) {
  const rule = { ...RULE, protocol };

  test(`${protocol}: a tool that asks for nothing is cut off`, async () => {
    await using door = await openHttpDoor(silent, { rule, bounds: { openingMs: 60 } });
    assert.equal(await heard(await door.enter()), "");
    await door.over();
    assert.match(whyOf(door), /^refused: no request came within 60 ms/);
  });

  test(`${protocol}: a head that does not end is cut off`, async () => {
    await using door = await openHttpDoor(silent, { rule, bounds: { openingMs: 60 } });
    const socket = await door.enter();
    socket.write("GET / HTTP/1.1\r\nX: ");
    const drip = setInterval(() => socket.write("a"), 10);
    await heard(socket);
    clearInterval(drip);
    await door.over();
    assert.match(whyOf(door), /^refused: no request came within 60 ms/);
  });

  test(`${protocol}: an origin that says nothing is cut off`, async () => {
    await using door = await openHttpDoor(silent, { rule, bounds: { idleMs: 60 } });
    const socket = await door.enter();
    socket.write(GET);
    await heard(socket);
    await door.over();
    assert.match(whyOf(door), /^refused: nothing moved for 60 ms/);
  });

  test(`${protocol}: nothing goes on once the sandbox is gone`, async () => {
    await using door = await openHttpDoor(silent, { rule });
    const socket = await door.enter();
    socket.write(GET);
    while (door.dials() === 0) await new Promise(setImmediate);
    door.gone.abort();
    await heard(socket);
    await door.over();
    assert.match(whyOf(door), /^allowed: the sandbox was gone/);
  });

  test(`${protocol}: more bytes than may be sent are refused`, async () => {
    await using door = await openHttpDoor(silent, { rule, bounds: { bytesSent: 1_000 } });
    const socket = await door.enter();
    socket.write(`POST / HTTP/1.1\r\nHost: ${NAME}\r\nContent-Length: 1000\r\n\r\n${"a".repeat(1_000)}`);
    assert.match(await heard(socket), /^HTTP\/1\.1 403 [\s\S]*more than 1000 bytes sent/);
    await door.over();
    assert.match(door.requests()[0]?.why ?? "", /more than 1000 bytes sent/);
  });

  test(`${protocol}: more bytes than may be received break off`, async () => {
    const large = (socket: Socket): void => {
      socket.on("error", () => {});
      socket.once("data", () =>
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${"a".repeat(2_000)}`),
      );
    };
    await using door = await openHttpDoor(large, { rule, bounds: { bytesReceived: 1_000 } });
    const socket = await door.enter();
    socket.write(GET);
    assert.equal((await heard(socket)).includes("a".repeat(2_000)), false);
    await door.over();
    assert.match(door.requests()[0]?.why ?? "", /more than 1000 bytes received/);
  });

  test(`${protocol}: more pipelined requests than PIPELINED_MAX are cut off`, async () => {
    await using door = await openHttpDoor(silent, { rule });
    const socket = await door.enter();
    socket.write(GET.repeat(PIPELINED_MAX + 1));
    await heard(socket);
    await door.over();
    assert.match(whyOf(door), /^refused: more than 16 requests at a time/);
  });
}
