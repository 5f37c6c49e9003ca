import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import * as tls from "node:tls";
import { capturedHello, helloMessage, records, serverName, unframed } from "./client-hello.fixture.ts";
import { HELLO_BYTES_MAX } from "./client-hello.ts";
import type { GateCredential } from "./credentials/credential.ts";
import { CERTIFICATE, heard, KEY, listening, NAME, openDoor, portOf } from "./pass-through.fixture.ts";
import { passTcp, passThrough } from "./pass-through.ts";
import { RETRY, serverHello } from "./second-hello.fixture.ts";
import { ALERT_LINGER_MS } from "./tls-alert.ts";

/** Answers what it is told, in capitals, once the client has said FIN. */
let host: tls.Server;
/** The same without TLS; keeps what it was told. */
const plainHost = createServer({ allowHalfOpen: true }, answer);
let plainHeard: Buffer[] = [];

function answer(socket: Socket): void {
  const chunks: Buffer[] = [];
  socket.on("error", () => {});
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("data", (chunk) => plainHeard.push(chunk));
  socket.on("end", () => socket.end(Buffer.concat(chunks).toString().toUpperCase()));
}

before(async () => {
  const key = KEY.export({ type: "pkcs8", format: "pem" });
  host = tls.createServer({ key, cert: CERTIFICATE, allowHalfOpen: true }, answer);
  host.on("tlsClientError", () => {});
  await Promise.all([listening(host), listening(plainHost)]);
});

after(() => {
  host.close();
  plainHost.close();
});

/** Sends these bytes, waits for what comes back, and closes when the other side has. */
async function told(port: number, bytes: Uint8Array): ReturnType<typeof heard> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes);
  return await heard(socket);
}

function hello(parts?: Parameters<typeof helloMessage>[0]): Buffer {
  return records(helloMessage(parts));
}

/** A fatal alert in the clear (RFC 8446 6). */
function alert(description: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, description]);
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const)
  for (const plain of [false, true])
    test(`${version} passes end to end${plain ? ", by a dialler without the buffer" : ""}`, async () => {
      await using door = await openDoor(passThrough, portOf(host), { plain });
      const versions = { minVersion: version, maxVersion: version };
      const options = { host: "127.0.0.1", servername: "A.Test", ca: CERTIFICATE, ...versions };
      const client = tls.connect({ ...options, port: door.port });
      await once(client, "secureConnect");
      assert.equal(client.authorized, true);
      assert.equal(client.getProtocol(), version);
      client.end("hello");
      assert.equal((await heard(client)).bytes.toString(), "HELLO");
      await door.over();
      const [fact] = door.facts;
      assert.equal(door.facts.length, 1);
      assert.deepEqual(
        [fact?.kind, fact?.verdict, fact?.why, fact?.name, fact?.port, fact?.address],
        ["connection", "allowed", undefined, NAME, 443, "127.0.0.1"],
      );
      assert.ok((fact?.bytesSent ?? 0) > 100 && (fact?.bytesReceived ?? 0) > 100);
    });

test("a handshake passes whose client writes one byte at a time", async () => {
  await using door = await openDoor(passThrough, portOf(host));
  const middle = createServer({ allowHalfOpen: true }, async (near) => {
    const far = connect(door.port, "127.0.0.1").setNoDelay(true);
    near.on("error", () => {});
    far.on("error", () => {});
    far.pipe(near);
    for await (const chunk of near)
      for (const byte of chunk as Buffer) {
        far.write(Buffer.of(byte));
        await turn();
      }
    far.end();
  });
  const port = await listening(middle);
  const client = tls.connect({ host: "127.0.0.1", port, servername: NAME, ca: CERTIFICATE });
  await once(client, "secureConnect");
  client.end("slowly");
  assert.equal((await heard(client)).bytes.toString(), "SLOWLY");
  middle.close();
});

test("what goes out is what came in, however the hello was framed, and what came with it", async () => {
  const message = unframed(await capturedHello({ servername: NAME }));
  for (const bytes of [
    records(message, 1),
    records(message, 100),
    Buffer.concat([records(message), Buffer.from("early data")]),
    records(helloMessage({ extensions: [[0x2a2a, Buffer.alloc(0)], serverName(NAME)] })),
  ]) {
    plainHeard = [];
    await using door = await openDoor(passThrough, portOf(plainHost));
    const client = connect(door.port, "127.0.0.1");
    client.end(bytes);
    await heard(client);
    await door.over();
    assert.ok(Buffer.concat(plainHeard).equals(bytes));
    assert.equal(door.facts[0]?.bytesSent, bytes.length);
  }
});

test("a hello of HELLO_BYTES_MAX passes", async () => {
  const padding =
    HELLO_BYTES_MAX - helloMessage({ extensions: [serverName(NAME), [21, Buffer.alloc(0)]] }).length;
  const bytes = hello({ extensions: [serverName(NAME), [21, Buffer.alloc(padding)]] });
  await using door = await openDoor(passThrough, portOf(plainHost));
  connect(door.port, "127.0.0.1").end(bytes);
  await door.over();
  assert.equal(door.facts[0]?.bytesSent, HELLO_BYTES_MAX + 5);
});

const REFUSED: Readonly<Record<string, readonly [Buffer, Buffer | "reset", RegExp]>> = {
  "no SNI": [hello({ extensions: [] }), alert(112), /names no host \(SNI\), not `a\.test`/],
  "another SNI": [
    hello({ extensions: [serverName("b.test")] }),
    alert(112),
    /names `b\.test`, not `a\.test`/,
  ],
  "a name below": [hello({ extensions: [serverName("x.a.test")] }), alert(112), /names `x\.a\.test`/],
  "an encrypted hello": [
    hello({ extensions: [serverName(NAME), [0xfe0d, Buffer.alloc(9)]] }),
    alert(49),
    /ECH.*switch ECH off/,
  ],
  "a malformed hello": [hello({ rest: Buffer.alloc(1) }), alert(50), /malformed/],
  "HTTP in the clear": [Buffer.from("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), "reset", /HTTP in the clear/],
  SSH: [Buffer.from("SSH-2.0-x\r\n"), "reset", /SSH/],
};

for (const [what, [bytes, reply, why]] of Object.entries(REFUSED))
  test(`refused before anything goes out: ${what}`, async (t) => {
    // No bound has to be met for its end.
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await using door = await openDoor(passThrough, portOf(plainHost));
    const heardBack = await told(door.port, bytes);
    if (reply === "reset") assert.deepEqual(heardBack, { bytes: Buffer.alloc(0), reset: true });
    else assert.deepEqual(heardBack, { bytes: reply, reset: false });
    await door.over();
    assert.equal(door.dials(), 0);
    assert.equal(door.facts.length, 1);
    const [fact] = door.facts;
    assert.match(fact?.why ?? "", why);
    assert.deepEqual([fact?.verdict, fact?.address, fact?.bytesSent], ["refused", undefined, 0]);
  });

for (const version of ["TLSv1.2", "TLSv1.3"] as const)
  test(`a client of ${version} is told of the refusal in its own words`, async () => {
    const versions = { minVersion: version, maxVersion: version };
    for (const [servername, options, code] of [
      ["b.test", {}, "ERR_SSL_TLSV1_UNRECOGNIZED_NAME"],
      [NAME, { undialable: "no" }, "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED"],
    ] as const) {
      await using door = await openDoor(passThrough, portOf(host), options);
      const client = tls.connect({ host: "127.0.0.1", port: door.port, servername, ...versions });
      const [error] = await once(client, "error");
      assert.equal(error.code, code);
      await door.over();
    }
  });

test("a host that cannot be dialled is a refusal with the dialler's words", async () => {
  await using tlsDoor = await openDoor(passThrough, portOf(host), { undialable: "nobody answers" });
  assert.deepEqual(await told(tlsDoor.port, hello()), { bytes: alert(49), reset: false });
  await using tcpDoor = await openDoor(passTcp, portOf(host), { undialable: "nobody answers" });
  assert.equal((await told(tcpDoor.port, Buffer.from("x"))).reset, true);
  for (const door of [tlsDoor, tcpDoor]) {
    await door.over();
    assert.deepEqual(
      door.facts.map(({ verdict, why }) => [verdict, why]),
      [["refused", "nobody answers"]],
    );
  }
});

test("a fault while dialling is reported without its words, and goes on", async () => {
  const failing = async (visit: Parameters<typeof passTcp>[0]): Promise<void> => {
    const dial = async (): Promise<never> => {
      throw new Error("secret words");
    };
    await assert.rejects(passTcp({ ...visit, dial }), /secret words/);
  };
  await using door = await openDoor(failing, portOf(plainHost));
  assert.equal((await told(door.port, Buffer.from("x"))).reset, true);
  await door.over();
  assert.deepEqual(
    door.facts.map(({ verdict, why }) => [verdict, why]),
    [["refused", "a fault of the gate"]],
  );
});

test("a client that says nothing, or half a hello, is reset at its bound", async () => {
  for (const bytes of [Buffer.alloc(0), hello().subarray(0, 30)]) {
    await using door = await openDoor(passThrough, portOf(plainHost), { bounds: { openingMs: 30 } });
    assert.equal((await told(door.port, bytes)).reset, true);
    await door.over();
    assert.equal(door.facts[0]?.why, "no whole ClientHello came within 30 ms");
    assert.equal(door.dials(), 0);
  }
});

test("a client that leaves before its hello is whole is a refusal", async () => {
  for (const leave of ["end", "resetAndDestroy"] as const) {
    await using door = await openDoor(passThrough, portOf(plainHost));
    const client = connect(door.port, "127.0.0.1");
    client.on("error", () => {});
    client.write(hello().subarray(0, 30));
    while (door.facts.length === 0) {
      await turn();
      if (client.bytesWritten > 0 && !client.writableEnded && !client.destroyed) client[leave]();
    }
    await door.over();
    assert.match(door.facts[0]?.why ?? "", /closed before a whole ClientHello/);
    assert.equal(door.dials(), 0);
  }
});

test("nothing goes on when the sandbox is gone, before the hello or after", async () => {
  await using early = await openDoor(passThrough, portOf(plainHost));
  const waiting = connect(early.port, "127.0.0.1");
  const waited = heard(waiting);
  await once(waiting, "connect");
  while (early.facts.length === 0) {
    early.gone.abort();
    await turn();
  }
  assert.equal((await waited).reset, true);
  await early.over();
  assert.deepEqual([early.facts[0]?.verdict, early.facts[0]?.why], ["refused", "the sandbox was gone"]);
  assert.equal(early.dials(), 0);

  await using late = await openDoor(passThrough, portOf(host));
  const client = tls.connect({ host: "127.0.0.1", port: late.port, servername: NAME, ca: CERTIFICATE });
  await once(client, "secureConnect");
  const heardBack = heard(client);
  late.gone.abort();
  await heardBack;
  await late.over();
  assert.deepEqual([late.facts[0]?.verdict, late.facts[0]?.why], ["allowed", "the sandbox was gone"]);
});

test("nobody is dialled for a sandbox that is gone", async () => {
  for (const serve of [passThrough, passTcp]) {
    await using door = await openDoor(serve, portOf(plainHost));
    door.gone.abort();
    assert.equal((await told(door.port, hello())).reset, true);
    await door.over();
    assert.equal(door.facts[0]?.why, "the sandbox was gone");
    assert.equal(door.dials(), 0);
  }
});

test("a bound that is met in a passed connection is a refusal with its address", async () => {
  await using door = await openDoor(passTcp, portOf(plainHost), { bounds: { bytesSent: 10 } });
  assert.equal((await told(door.port, Buffer.alloc(11))).reset, true);
  await using idle = await openDoor(passTcp, portOf(plainHost), { bounds: { idleMs: 20 } });
  assert.equal((await told(idle.port, Buffer.from("x"))).reset, true);
  await Promise.all([door.over(), idle.over()]);
  const facts = [...door.facts, ...idle.facts].map(({ verdict, why, address }) => [verdict, why, address]);
  assert.deepEqual(facts, [
    ["refused", "more than 10 bytes sent", "127.0.0.1"],
    ["refused", "nothing moved for 20 ms", "127.0.0.1"],
  ]);
});

test("a client that does not close on an alert is cut off, with the sandbox or at a bound", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const isGone of [true, false]) {
    await using door = await openDoor(passThrough, portOf(plainHost));
    const client = connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
    client.write(hello({ extensions: [] }));
    const [chunk] = await once(client, "data");
    assert.deepEqual(chunk, alert(112));
    t.mock.timers.tick(ALERT_LINGER_MS - 1);
    assert.equal(door.inside().destroyed, false);
    if (isGone) door.gone.abort();
    else t.mock.timers.tick(1);
    await door.over();
    assert.equal(door.inside().destroyed, true);
    client.destroy();
  }
});

test("an alert gets through to a client that has sent much more than its hello", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  await using door = await openDoor(passThrough, portOf(plainHost));
  const bytes = Buffer.concat([hello({ extensions: [] }), Buffer.alloc(16 * 1024 ** 2)]);
  assert.deepEqual(await told(door.port, bytes), { bytes: alert(112), reset: false });
  await door.over();
});

test("tcp passes what it is, whoever speaks first", async () => {
  await using door = await openDoor(passTcp, portOf(plainHost));
  const client = connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
  client.end("plain words");
  assert.equal((await heard(client)).bytes.toString(), "PLAIN WORDS");
  await door.over();
  assert.deepEqual([door.facts[0]?.verdict, door.facts[0]?.bytesReceived], ["allowed", 11]);
});

const PLACEHOLDER = "placeholder-0123456789";
const credential = { name: "github-read", placeholders: [PLACEHOLDER] } as unknown as GateCredential;

test("a placeholder in tcp is refused wherever it is cut, and not told", async () => {
  const text = Buffer.from(`before ${PLACEHOLDER} after`);
  for (const cut of [0, 8, 18, text.length - 7]) {
    plainHeard = [];
    await using door = await openDoor(passTcp, portOf(plainHost), { credentials: [credential] });
    const client = connect(door.port, "127.0.0.1").setNoDelay(true);
    const heardBack = heard(client);
    client.write(text.subarray(0, cut));
    while (cut > 0 && Buffer.concat(plainHeard).length < cut) await turn();
    client.write(text.subarray(cut));
    assert.equal((await heardBack).reset, true);
    await door.over();
    const [fact] = door.facts;
    assert.equal(fact?.verdict, "refused");
    assert.match(fact?.why ?? "", /placeholder of credential `github-read`/);
    assert.match(fact?.remedy ?? "", /own host, whose rule says `credential: github-read`/);
    assert.equal(JSON.stringify(door.facts).includes(PLACEHOLDER), false);
    assert.equal(Buffer.concat(plainHeard).includes(PLACEHOLDER), false);
  }
});

test("a handshake passes in which the server asks for a second hello", async () => {
  const key = KEY.export({ type: "pkcs8", format: "pem" });
  const sent: number[] = [];
  for (const ecdhCurve of ["X25519:secp384r1", "secp384r1"]) {
    const server = tls.createServer({ key, cert: CERTIFICATE, ecdhCurve }, (socket) => socket.end("done"));
    const port = await listening(server);
    await using door = await openDoor(passThrough, port);
    const options = { host: "127.0.0.1", servername: NAME, ca: CERTIFICATE, ecdhCurve: "X25519:secp384r1" };
    const client = tls.connect({ ...options, port: door.port });
    assert.equal((await heard(client)).bytes.toString(), "done");
    await door.over();
    assert.equal(door.facts[0]?.verdict, "allowed");
    sent.push(door.facts[0]?.bytesSent ?? 0);
    server.close();
  }
  const [once = 0, twice = 0] = sent;
  assert.ok(twice > once + 150, `a second hello was sent: ${sent.join(" and ")} bytes`);
});

test("the second hello is held to the first one's name, before it is out", async () => {
  const second = hello({ extensions: [serverName("b.test")] });
  const answers = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => plainHeard.push(chunk));
    socket.once("data", () => socket.write(serverHello(RETRY)));
  });
  const port = await listening(answers);
  plainHeard = [];
  await using door = await openDoor(passThrough, port);
  const client = connect(door.port, "127.0.0.1").on("error", () => {});
  client.write(hello());
  await once(client, "data");
  client.write(second);
  await door.over();
  assert.equal(door.facts[0]?.verdict, "refused");
  assert.match(
    door.facts[0]?.why ?? "",
    /^the second hello: the ClientHello names `b\.test`, not `a\.test`$/,
  );
  assert.ok(Buffer.concat(plainHeard).equals(hello()), "nothing of it went out");
  client.destroy();
  answers.close();
});
