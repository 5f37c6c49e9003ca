import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { HttpRule } from "../../contract/network.ts";
import type { GateCredential } from "../credentials/credential.ts";
import { heard, NAME, openHttpDoor } from "./http.fixture.ts";

const HTTP: readonly HttpRule[] = [{ methods: ["GET"], paths: ["/live"], upgrade: true }];
const ASK = `GET /live HTTP/1.1\r\nHost: ${NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n`;
const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n";

/** Switches, says hello at once, and echoes. */
function echo(socket: Socket): void {
  socket.on("error", () => {});
  socket.once("data", () => {
    socket.write(`${SWITCH}hello `);
    socket.pipe(socket);
  });
}

for (const protocol of ["tls", "http"] as const) {
  const rule = { protocol, http: HTTP };

  test(`${protocol}: a WebSocket is carried both ways until it is closed`, async () => {
    await using door = await openHttpDoor(echo, { rule });
    const socket = await door.enter();
    const said = heard(socket);
    socket.write(ASK);
    await new Promise((resolve) => socket.once("data", resolve));
    socket.end("world");
    const text = await said;
    assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    assert.match(text, /sec-websocket-accept: a\r\n/i);
    assert.match(text, /\r\n\r\nhello world$/);
    await door.over();
    assert.deepEqual(door.requests(), [{ method: "GET", path: "/live", status: 101, verdict: "allowed" }]);
    assert.equal(door.facts.filter(({ kind }) => kind === "connection").length, 1);
  });

  test(`${protocol}: a WebSocket that the origin does not open is answered with its status`, async () => {
    const refuse = (socket: Socket): void => {
      socket.once("data", () => socket.end("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"));
    };
    await using door = await openHttpDoor(refuse, { rule });
    const socket = await door.enter();
    socket.write(ASK);
    assert.match(await heard(socket), /^HTTP\/1\.1 401 /);
  });

  test(`${protocol}: a WebSocket that no rule permits is refused`, async () => {
    await using door = await openHttpDoor(echo, {
      rule: { ...rule, http: [{ methods: ["GET"], paths: ["/live"] }] },
    });
    const socket = await door.enter();
    socket.write(ASK);
    assert.match(await heard(socket), /^HTTP\/1\.1 403 [\s\S]*upgrade: true/);
    await door.over();
    assert.equal(door.dials(), 0);
  });

  test(`${protocol}: a WebSocket's bytes are bounded, and it is idle within a bound`, async () => {
    await using door = await openHttpDoor(echo, { rule, bounds: { bytesSent: 500 } });
    const socket = await door.enter();
    socket.write(ASK);
    await new Promise((resolve) => socket.once("data", resolve));
    socket.write("a".repeat(1_000));
    await heard(socket);
    await door.over();
    assert.match(door.requests()[0]?.why ?? "", /more than 500 bytes sent/);
    await using other = await openHttpDoor(echo, { rule, bounds: { idleMs: 60 } });
    const still = await other.enter();
    still.write(ASK);
    await heard(still);
    await other.over();
    assert.match(other.facts.find(({ kind }) => kind === "connection")?.why ?? "", /nothing moved/);
  });
}

test("another protocol than it asked for is 403", async () => {
  const other = (socket: Socket): void => {
    socket.on("error", () => {});
    socket.once("data", () => socket.write(SWITCH.replace("websocket", "other")));
  };
  await using door = await openHttpDoor(other, { rule: { http: HTTP } });
  const socket = await door.enter();
  socket.write(ASK);
  assert.match(await heard(socket), /^HTTP\/1\.1 403 [\s\S]*another protocol/);
});

test("a credential whose answers are masked opens no WebSocket", async () => {
  const credential: GateCredential = {
    ...{
      name: "own",
      host: NAME,
      variables: {},
      placeholders: [],
      masksResponses: true,
      secrets: [],
      signsBody: false,
    },
    attach: async () => {},
  };
  await using door = await openHttpDoor(echo, { rule: { http: HTTP }, credential });
  const socket = await door.enter();
  socket.write(ASK);
  assert.match(await heard(socket), /^HTTP\/1\.1 403 [\s\S]*cannot be searched/);
});
