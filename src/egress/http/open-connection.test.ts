import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { HttpRule } from "../../contract/network.ts";
import type { GateCredential } from "../credentials/credential.ts";
import { Refusal } from "../visit.ts";
import { type HttpDoor, heard, NAME, openHttpDoor, stranger } from "./http.fixture.ts";
import { SIGNED_BODY_BYTES_MAX } from "./outgoing.ts";

const ALL: readonly HttpRule[] = [{ methods: ["GET", "HEAD", "POST", "PUT"], paths: ["/**"] }];

/** An origin that Node serves. */
function origin(listener: RequestListener): (socket: Socket) => void {
  const server = createServer(listener);
  return (socket) => void server.emit("connection", socket);
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  return Buffer.concat(await message.toArray()).toString();
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly trailers: IncomingMessage["trailers"];
  readonly body: string;
}

/** One request over one connection, by Node's client. */
async function ask(
  door: HttpDoor,
  given: { method?: string; path?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const socket = await door.enter();
  const { method = "GET", path = "/", headers = {}, body } = given;
  const client = request({
    createConnection: () => socket,
    method,
    path,
    headers: { host: NAME, ...headers },
  });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    client.on("response", resolve).on("error", reject).end(body);
  });
  const text = await bodyOf(answer);
  socket.destroy();
  return { status: answer.statusCode, headers: answer.headers, trailers: answer.trailers, body: text };
}

const echo: RequestListener = async (message, response) => {
  const { method, url, headers } = message;
  const body = await bodyOf(message);
  response.end(JSON.stringify({ method, url, headers, body }));
};

for (const protocol of ["tls", "http"] as const)
  test(`${protocol}: requests pass and are reported`, async () => {
    await using door = await openHttpDoor(origin(echo), { rule: { protocol, http: ALL } });
    const { status, body } = await ask(door, {
      method: "POST",
      path: "/a?b=c",
      body: "hello",
      headers: { "x-own": "1" },
    });
    assert.equal(status, 200);
    const seen = JSON.parse(body);
    assert.deepEqual(
      [seen.method, seen.url, seen.body, seen.headers["x-own"]],
      ["POST", "/a?b=c", "hello", "1"],
    );
    await door.over();
    assert.deepEqual(door.requests(), [{ method: "POST", path: "/a", status: 200, verdict: "allowed" }]);
    const connections = door.facts.filter(({ kind }) => kind === "connection");
    assert.equal(connections.length, 1);
    assert.deepEqual(
      [connections[0]?.verdict, connections[0]?.why, connections[0]?.address],
      ["allowed", undefined, "127.0.0.1"],
    );
    assert.ok((connections[0]?.bytesSent ?? 0) > 50 && (connections[0]?.bytesReceived ?? 0) > 50);
  });

test("a request that no rule permits is refused in words, and nothing is dialled", async () => {
  const http = [{ methods: ["GET"], paths: ["/a"] }];
  await using door = await openHttpDoor(origin(echo), { rule: { http } });
  const { status, body, headers } = await ask(door, { method: "POST", path: "/x?secret=1", body: "b" });
  assert.equal(status, 403);
  assert.equal(headers.connection, "close");
  assert.match(headers["content-type"] ?? "", /^text\/plain/);
  assert.match(
    body,
    /^callgate: POST \/x is not in the rules for api\.test\n.*methods: \[POST\], paths: \["\/x"\]/,
  );
  await door.over();
  assert.equal(door.dials(), 0);
  assert.deepEqual(door.requests(), [
    {
      method: "POST",
      path: "/x",
      status: 403,
      verdict: "refused",
      why: "POST /x is not in the rules for api.test",
    },
  ]);
  assert.equal(door.facts.filter(({ kind }) => kind === "connection").length, 1);
});

test("requests have a bound over all connections, and the one beyond it goes nowhere", async () => {
  await using door = await openHttpDoor(origin(echo), { rule: { http: ALL }, bounds: { requestsEver: 2 } });
  assert.equal((await ask(door, { path: "/a" })).status, 200);
  assert.equal((await ask(door, { path: "/b" })).status, 200);
  const { status, body } = await ask(door, { path: "/c" });
  assert.equal(status, 403);
  assert.match(body, /^callgate: more than 2 requests\n$/);
  await door.over(3);
  assert.deepEqual(
    door.requests().map(({ path, verdict }) => [path, verdict]),
    [
      ["/a", "allowed"],
      ["/b", "allowed"],
      ["/c", "refused"],
    ],
  );
});

test("answers pass with their status, headers, trailers and body", async () => {
  const listener: RequestListener = (message, response) => {
    if (message.url === "/204") return void response.writeHead(204, { "x-own": "1" }).end();
    if (message.url === "/304")
      return void response.writeHead(304, { etag: "a", "content-length": "9" }).end();
    if (message.method === "HEAD") return void response.writeHead(201, { "content-length": "7" }).end();
    response.writeHead(201, "Made", {
      "x-own": "1",
      connection: "x-hop",
      "x-hop": "1",
      "alt-svc": "h3",
      trailer: "x-end",
    });
    response.write("one ");
    response.addTrailers({ "x-end": "2" });
    response.end("two");
  };
  await using door = await openHttpDoor(origin(listener), { rule: { http: ALL } });
  const chunked = await ask(door, { path: "/" });
  assert.deepEqual([chunked.status, chunked.body, chunked.headers["x-own"]], [201, "one two", "1"]);
  assert.equal(chunked.trailers["x-end"], "2");
  assert.equal(chunked.headers["x-hop"], undefined);
  assert.equal(chunked.headers["alt-svc"], undefined);
  const head = await ask(door, { path: "/", method: "HEAD" });
  assert.deepEqual([head.status, head.body, head.headers["content-length"]], [201, "", "7"]);
  assert.equal((await ask(door, { path: "/204" })).status, 204);
  const same = await ask(door, { path: "/304" });
  assert.deepEqual([same.status, same.headers.etag, same.body], [304, "a", ""]);
});

test("several requests share one connection outside, and pipelined ones are answered in order", async () => {
  await using door = await openHttpDoor(origin(echo), { rule: { http: ALL } });
  const socket = await door.enter();
  const said = heard(socket);
  const one = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: ${NAME}\r\n${more}\r\n`;
  socket.write(one("/1") + one("/2") + one("/3", "Connection: close\r\n"));
  const text = await said;
  assert.deepEqual(text.match(/"url":"\/[0-9]"/g), ['"url":"/1"', '"url":"/2"', '"url":"/3"']);
  await door.over();
  assert.equal(door.dials(), 1);
  assert.equal(door.requests().length, 3);
});

test("large bodies stream both ways", async () => {
  let most = 0;
  const listener: RequestListener = async (message, response) => {
    for await (const chunk of message) {
      most = Math.max(most, chunk.length);
      if (!response.write(chunk)) await new Promise((resolve) => response.once("drain", resolve));
    }
    response.end();
  };
  await using door = await openHttpDoor(origin(listener), { rule: { http: ALL } });
  const body = "0123456789abcdef".repeat(256 * 1024);
  const answer = await ask(door, { method: "POST", body });
  assert.equal(answer.body.length, body.length);
  assert.equal(answer.body === body, true);
  assert.ok(most < body.length);
  await door.over();
  const fact = door.facts.find(({ kind }) => kind === "request");
  assert.ok((fact?.bytesSent ?? 0) >= body.length && (fact?.bytesReceived ?? 0) >= body.length);
});

test("Expect: 100-continue is the origin's to answer", async () => {
  await using door = await openHttpDoor(origin(echo), { rule: { http: ALL } });
  const socket = await door.enter();
  const said = heard(socket);
  socket.write(
    `POST / HTTP/1.1\r\nHost: ${NAME}\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n`,
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.write("hi");
  assert.match(await said, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[\s\S]*"body":"hi"/);
});

for (const [what, options, why] of [
  ["a certificate of nobody that is trusted", { origin: { authority: stranger } }, /TLS with it failed/],
  ["a certificate of another name", { origin: { name: "other.test" } }, /ERR_TLS_CERT_ALTNAME_INVALID/],
  [
    "a host that is not to be had",
    { undialable: "10.0.0.1 is a private address" },
    /10\.0\.0\.1 is a private address/,
  ],
] as const)
  test(`${what} is 502, in words`, async () => {
    let served = 0;
    const count = origin((_message, response) => {
      served += 1;
      response.end();
    });
    await using door = await openHttpDoor(count, { rule: { http: ALL }, ...options });
    const { status, body } = await ask(door);
    assert.equal(status, 502);
    assert.match(body, why);
    await door.over();
    assert.equal(served, 0);
    assert.deepEqual(
      door.requests().map(({ verdict }) => verdict),
      ["refused"],
    );
  });

test("an origin that breaks off is 502, and one that breaks off in its answer breaks off the tool's", async () => {
  await using none = await openHttpDoor((socket) => void socket.once("data", () => socket.destroy()), {
    rule: { http: ALL },
  });
  assert.equal((await ask(none)).status, 502);
  const half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
  await using some = await openHttpDoor((socket) => void socket.once("data", () => socket.end(half)), {
    rule: { http: ALL },
  });
  await assert.rejects(ask(some));
  await some.over();
  assert.match(some.requests()[0]?.why ?? "", /in the middle of its answer/);
});

function credential(parts: Partial<GateCredential> = {}): GateCredential {
  return {
    ...{ name: "own", host: NAME, variables: {}, placeholders: ["placeholder-own"], masksResponses: false },
    ...{ secrets: ["s3cret-value"], signsBody: false },
    attach: async (sent, body) => {
      sent.headers.push([
        "authorization",
        `Bearer s3cret-value${body === undefined ? "" : ` ${body.length}`}`,
      ]);
    },
    ...parts,
  };
}

test("a credential is added, by a rule without http too", async () => {
  await using door = await openHttpDoor(origin(echo), { credential: credential() });
  const answer = await ask(door, { method: "PUT", path: "/any" });
  assert.equal(JSON.parse(answer.body).headers.authorization, "Bearer s3cret-value");
  assert.equal(JSON.parse(answer.body).headers["content-length"], "0");
  await door.over();
  assert.equal(door.facts.find(({ kind }) => kind === "request")?.credential, "own");
  assert.equal(JSON.stringify(door.facts).includes("s3cret"), false);
});

test("a credential that signs gets the whole body, within a bound", async () => {
  await using door = await openHttpDoor(origin(echo), { credential: credential({ signsBody: true }) });
  const small = await ask(door, {
    method: "POST",
    body: "hello",
    headers: { "transfer-encoding": "chunked" },
  });
  const seen = JSON.parse(small.body);
  assert.deepEqual(
    [seen.headers.authorization, seen.body, seen.headers["content-length"]],
    ["Bearer s3cret-value 5", "hello", "5"],
  );
  const large = await ask(door, { method: "POST", body: "a".repeat(SIGNED_BODY_BYTES_MAX + 1) });
  assert.equal(large.status, 403);
  assert.match(large.body, /signed is longer than 16777216 bytes/);
});

test("a credential that cannot be added is a refusal, and nothing is sent", async () => {
  const refusing = credential({ attach: () => Promise.reject(new Refusal("it cannot be had")) });
  await using door = await openHttpDoor(origin(echo), { credential: refusing });
  assert.match((await ask(door)).body, /^callgate: it cannot be had/);
  assert.equal(door.dials(), 0);
  const failing = credential({ attach: () => Promise.reject(new Error("s3cret-value")) });
  await using other = await openHttpDoor(origin(echo), { credential: failing });
  const { status, body } = await ask(other);
  assert.equal(status, 502);
  assert.equal(body.includes("s3cret"), false);
});

const FOREIGN = "placeholder-of-another";
const basic = Buffer.from(`user:${FOREIGN}`).toString("base64");
for (const [where, given] of [
  ["the target", { path: `/a?t=${FOREIGN}` }],
  ["the target, encoded", { path: `/a?t=${FOREIGN.replace("-", "%2d")}` }],
  ["a header", { headers: { authorization: `Bearer ${FOREIGN}` } }],
  ["a header, as Basic", { headers: { authorization: `Basic ${basic}` } }],
  ["the body", { method: "POST", body: `x${FOREIGN}x` }],
] as const)
  test(`another credential's placeholder in ${where} is refused`, async () => {
    const other = credential({ name: "other", host: "other.test", placeholders: [FOREIGN] });
    let heardBody = "";
    const listener: RequestListener = (message) => void message.on("data", (chunk) => (heardBody += chunk));
    await using door = await openHttpDoor(origin(listener), { rule: { http: ALL }, credentials: [other] });
    const { status, body } = await ask(door, given);
    assert.equal(status, 403);
    assert.match(body, /the placeholder of credential `other`/);
    await door.over();
    assert.equal(heardBody, "");
    const [fact] = door.requests();
    assert.equal(fact?.verdict, "refused");
    assert.equal(JSON.stringify(fact?.why).includes(FOREIGN), false);
  });

test("a secret that comes back is masked in headers and body, and an encoded answer is 502", async () => {
  const listener: RequestListener = (message, response) => {
    response.setHeader("x-token", message.headers.authorization ?? "");
    response.setHeader("x-accepts", message.headers["accept-encoding"] ?? "");
    if (message.url === "/gzip") response.setHeader("content-encoding", "gzip");
    response.write("a s3cret-");
    setImmediate(() => response.end("value b"));
  };
  const masking = credential({ masksResponses: true });
  await using door = await openHttpDoor(origin(listener), { credential: masking });
  const answer = await ask(door, { headers: { "accept-encoding": "br" } });
  assert.deepEqual([answer.headers["x-token"], answer.headers["x-accepts"]], ["Bearer [masked]", "identity"]);
  assert.equal(answer.body, "a [masked] b");
  const encoded = await ask(door, { path: "/gzip" });
  assert.equal(encoded.status, 502);
  assert.match(encoded.body, /encoded/);
});

for (const protocol of ["tls", "http"] as const)
  test(`${protocol}: a tool that has said FIN gets its answer`, async () => {
    const later: RequestListener = (_message, response) => void setTimeout(() => response.end("late"), 20);
    await using door = await openHttpDoor(origin(later), { rule: { protocol, http: ALL } });
    const socket = await door.enter();
    socket.end(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
    assert.match(await heard(socket), /late/);
    await door.over();
  });

test("an answer that comes before the body is sent is passed on, and ends the connection", async () => {
  const early = (socket: Socket): void => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.pause();
      socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
    });
  };
  await using door = await openHttpDoor(early, { rule: { http: ALL } });
  const socket = await door.enter();
  const said = heard(socket);
  socket.write(`POST / HTTP/1.1\r\nHost: ${NAME}\r\nContent-Length: 99999999\r\n\r\n${"a".repeat(1_000)}`);
  assert.match(await said, /^HTTP\/1\.1 413 [\s\S]*big$/);
  await door.over();
  assert.deepEqual(
    door.requests().map(({ status, verdict }) => [status, verdict]),
    [[413, "allowed"]],
  );
});
