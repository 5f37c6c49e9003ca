import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { heard, NAME, openHttpDoor } from "./http.fixture.ts";

const HTTP = [{ methods: ["GET", "POST"], paths: ["/ok"] }];
const HOST = `Host: ${NAME}\r\n`;
/** What no rule permits: no shape may bring it to an origin, whoever reads it. */
const HIDDEN = `GET /admin HTTP/1.1\r\n${HOST}\r\n`;
const SIZE = HIDDEN.length;

function post(headers: string, body: string = HIDDEN): string {
  return `POST /ok HTTP/1.1\r\n${HOST}${headers}\r\n${body}`;
}

const chunk = `${SIZE.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`;

const SHAPES: readonly (readonly [what: string, text: string])[] = [
  [
    "both lengths, length first",
    post(`Content-Length: ${SIZE}\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`),
  ],
  [
    "both lengths, coding first",
    post(`Transfer-Encoding: chunked\r\nContent-Length: 5\r\n`, `0\r\n\r\n${HIDDEN}`),
  ],
  ["two lengths", post(`Content-Length: 0\r\nContent-Length: ${SIZE}\r\n`)],
  ["two equal lengths", post(`Content-Length: ${SIZE}\r\nContent-Length: ${SIZE}\r\n`)],
  ["a list of lengths", post(`Content-Length: ${SIZE}, ${SIZE}\r\n`)],
  ["a signed length", post(`Content-Length: +${SIZE}\r\n`)],
  ["a negative length", post(`Content-Length: -1\r\n`)],
  ["a hexadecimal length", post(`Content-Length: 0x5\r\n`)],
  ["a length with a space in it", post(`Content-Length: 1 0\r\n`)],
  ["an empty length", post(`Content-Length:\r\n`)],
  ["a length that overflows", post(`Content-Length: 18446744073709551616\r\n`)],
  ["a length with a space before its colon", post(`Content-Length : ${SIZE}\r\n`)],
  ["a coding with a space before its colon", post(`Transfer-Encoding : chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["a coding with a tab before its colon", post(`Transfer-Encoding\t: chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["two codings", post(`Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["two codings in one", post(`Transfer-Encoding: chunked, chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["identity", post(`Transfer-Encoding: identity\r\n`)],
  ["chunked, identity", post(`Transfer-Encoding: chunked, identity\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["gzip, chunked", post(`Transfer-Encoding: gzip, chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["xchunked", post(`Transfer-Encoding: xchunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["chunked in capitals", post(`Transfer-Encoding: CHUNKED\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["chunked in quotes", post(`Transfer-Encoding: "chunked"\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["chunked after a vertical tab", post(`Transfer-Encoding: \x0bchunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["chunked with NUL", post(`Transfer-Encoding: chunked\0\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["an empty coding", post(`Transfer-Encoding:\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["chunks in HTTP/1.0", post(`Transfer-Encoding: chunked\r\n`, chunk).replace("HTTP/1.1", "HTTP/1.0")],
  ["a folded coding", post(`Transfer-Encoding:\r\n chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["a folded header", post(`X: a\r\n b: c\r\nContent-Length: 0\r\n`)],
  ["a coding after bare LF", post(`X: a\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["a coding after bare CR", post(`X: a\rTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`)],
  ["bare LF as line ends", post("Content-Length: 0\r\n").replaceAll("\r\n", "\n")],
  ["bare CR as line ends", post("Content-Length: 0\r\n").replaceAll("\r\n", "\r")],
  ["a header without a colon", post(`Content-Length\r\n`)],
  ["a header without a name", post(`: x\r\n`)],
  ["a first header that begins with a space", `GET /ok HTTP/1.1\r\n ${HOST}\r\n${HIDDEN}`],
  ["a chunk size with a sign", post(`Transfer-Encoding: chunked\r\n`, `+0\r\n\r\n${HIDDEN}`)],
  ["a chunk size with 0x", post(`Transfer-Encoding: chunked\r\n`, `0x0\r\n\r\n${HIDDEN}`)],
  ["a chunk size that overflows", post(`Transfer-Encoding: chunked\r\n`, `10000000000000000\r\n${HIDDEN}`)],
  ["a chunk size with a space", post(`Transfer-Encoding: chunked\r\n`, `0 \r\n\r\n${HIDDEN}`)],
  ["a chunk size after bare LF", post(`Transfer-Encoding: chunked\r\n`, `0\n\n${HIDDEN}`)],
  ["a chunk extension with bare LF", post(`Transfer-Encoding: chunked\r\n`, `0;a\n\r\n\r\n${HIDDEN}`)],
  ["a chunk longer than it says", post(`Transfer-Encoding: chunked\r\n`, `2\r\nabcd0\r\n\r\n${HIDDEN}`)],
  ["a next request with a body behind it", post(`Content-Length: 2\r\n`, `ab${HIDDEN}`)],
  ["a next request after chunks", post(`Transfer-Encoding: chunked\r\n`, `1\r\na\r\n0\r\n\r\n${HIDDEN}`)],
  ["a next request after a GET", `GET /ok HTTP/1.1\r\n${HOST}\r\n${HIDDEN}`],
  ["two Hosts", `GET /ok HTTP/1.1\r\n${HOST}Host: other.test\r\n\r\n`],
  ["no Host", "GET /ok HTTP/1.1\r\n\r\n"],
  ["another Host", "GET /ok HTTP/1.1\r\nHost: other.test\r\n\r\n"],
  ["an absolute target of another host", `GET http://other.test/ok HTTP/1.1\r\n${HOST}\r\n`],
  ["a space in the target", `GET /ok /admin HTTP/1.1\r\n${HOST}\r\n`],
  ["a tab in the target", `GET /ok\t/admin HTTP/1.1\r\n${HOST}\r\n`],
  ["CR in the target", `GET /ok\r/admin HTTP/1.1\r\n${HOST}\r\n`],
  ["a way up", `GET /ok/../admin HTTP/1.1\r\n${HOST}\r\n`],
  ["HTTP/0.9", "GET /admin\r\n\r\n"],
  ["HTTP/1.2", `GET /ok HTTP/1.2\r\n${HOST}\r\n`],
  ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["CONNECT", `CONNECT ${NAME}:443 HTTP/1.1\r\n${HOST}\r\n${HIDDEN}`],
  [
    "an Upgrade to h2c",
    `GET /ok HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n${HIDDEN}`,
  ],
  [
    "an Upgrade to WebSocket",
    `GET /ok HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n${HIDDEN}`,
  ],
  [
    "an Upgrade to TLS",
    `GET /ok HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n${HIDDEN}`,
  ],
  ["Connection: host", `GET /ok HTTP/1.1\r\n${HOST}Connection: host\r\n\r\n`],
  ["Connection: content-length", post(`Connection: content-length\r\nContent-Length: ${SIZE}\r\n`)],
  ["another Expect", post(`Expect: 200-ok\r\nContent-Length: ${SIZE}\r\n`)],
  ["an empty line before, and a bad one", `\r\n\r\nGARBAGE\r\n\r\n${HIDDEN}`],
];

test("there are at least 40 shapes", () => assert.ok(SHAPES.length >= 40));

/** Whatever it is told: one answer per read, then it waits for more. */
function recorder(said: string[]): (socket: Socket) => void {
  return (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      said.push(bytes.toString("latin1"));
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    socket.on("end", () => socket.end());
  };
}

for (const [what, text] of SHAPES)
  test(`${what}: an origin never sees what was not judged`, async () => {
    const said: string[] = [];
    await using door = await openHttpDoor(recorder(said), { rule: { protocol: "http", http: HTTP } });
    const socket = await door.enter();
    const answer = heard(socket);
    socket.end(Buffer.from(text, "latin1"));
    await answer;
    await door.over();
    const outside = said.join("");
    // Once for a reader that knows no body and once for one that does: it may stand in no bytes at all.
    assert.equal(outside.includes("/admin"), false, outside);
    assert.equal(outside.includes("other.test"), false, outside);
    // What went out, if anything, is what a permitted request looks like.
    if (outside !== "") assert.match(outside, /^(GET|POST) \/ok HTTP\/1\.1\r\n/);
    if (outside !== "") assert.equal(/\r(?!\n)|[^\r]\n/.test(outside), false);
    const facts = door.facts.filter(({ kind, verdict }) => kind === "request" && verdict === "refused");
    if (what !== "an Upgrade to h2c") assert.ok(facts.length >= 1, JSON.stringify(door.facts));
    assert.equal(door.facts.filter(({ kind }) => kind === "connection").length, 1);
  });

test("what stands in a body is a body to the origin, by one length only", async () => {
  for (const text of [post(`Content-Length: ${SIZE}\r\n`), post("Transfer-Encoding: chunked\r\n", chunk)]) {
    const said: string[] = [];
    await using door = await openHttpDoor(recorder(said), { rule: { protocol: "http", http: HTTP } });
    const socket = await door.enter();
    const answer = heard(socket);
    socket.write(text);
    socket.once("data", () => socket.end());
    await answer;
    await door.over();
    const outside = said.join("");
    assert.equal(outside.match(/content-length|transfer-encoding/gi)?.length, 1, outside);
    assert.deepEqual(
      door.requests().map(({ path, status }) => [path, status]),
      [["/ok", 200]],
    );
  }
});
