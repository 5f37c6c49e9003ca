import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { heard, NAME, openHttpDoor } from "./http.fixture.ts";
import { fitsPath } from "./path-pattern.ts";
import { readings } from "./path-readings.ts";

/** In a run of all tests. */
const INPUTS = 300;
/** Set: for so long, with other inputs each time, and the number is printed. */
const fuzzMs = Number(process.env["CALLGATE_FUZZ_MS"] ?? 0);

const RULE = { protocol: "http", http: [{ methods: ["GET", "POST"], paths: ["/ok", "/ok/**"] }] } as const;

/** What a request is made of, well and badly. */
const piece = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("GET", "POST", " ", "/ok", "/admin", " HTTP/1.1", "\r\n", "\r\n\r\n"),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      `Host: ${NAME}\r\n`,
      "Content-Length: 5\r\n",
      "Transfer-Encoding: chunked\r\n",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("0\r\n\r\n", "5\r\nhello\r\n", "hello", "\n", "\r", "\0", ":", ",", ";", "\t"),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("Connection: close\r\n", "Upgrade: websocket\r\n", "Expect: 100-continue\r\n"),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      `GET /ok HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`,
      `GET /admin HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("..", "%2e", "%2f", "\\", "//", "HTTP/1.0", "http://", "x".repeat(200)),
  },
);
const stream = fc
  .record({ pieces: fc.array(piece, { maxLength: 16 }), head: fc.boolean() })
  .map(({ pieces, head }) => (head ? `POST /ok HTTP/1.1\r\nHost: ${NAME}\r\n` : "") + pieces.join(""));

/** Every request line that a strict reader of what went out sees begins a permitted request. */
function checkOutside(said: string): void {
  let rest = said;
  while (rest !== "") {
    const end = rest.indexOf("\r\n\r\n");
    assert.ok(end >= 0, `half a head: ${JSON.stringify(rest)}`);
    const [line = "", ...headers] = rest.slice(0, end).split("\r\n");
    const [, target = ""] = /^(?:GET|POST) (\S+) HTTP\/1\.1$/.exec(line) ?? [];
    const paths = readings(target);
    assert.ok(!("refused" in paths) && paths.length > 0, line);
    for (const path of paths) assert.ok(fitsPath(path, "/ok") || fitsPath(path, "/ok/**"), line);
    const named = new Map(
      headers.map((header) => [
        header.split(":")[0]?.toLowerCase(),
        header.slice(header.indexOf(":") + 1).trim(),
      ]),
    );
    assert.equal(named.size, headers.length, "no header stands twice");
    assert.equal(named.get("host")?.toLowerCase(), NAME);
    assert.equal(named.has("content-length") && named.has("transfer-encoding"), false);
    rest = rest.slice(end + 4);
    if (named.has("transfer-encoding")) {
      const whole = /^(?:[1-9a-f][0-9a-f]*\r\n[\s\S]*?\r\n)*?0\r\n\r\n/.exec(rest);
      rest = whole === null ? "" : rest.slice(whole[0].length);
    } else rest = rest.slice(Number(named.get("content-length") ?? 0));
  }
}

async function check(text: string): Promise<void> {
  const said: string[] = [];
  const serve = (socket: Socket): void => {
    socket.on("data", (bytes) => {
      said.push(bytes.toString("latin1"));
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    socket.on("end", () => socket.end());
  };
  await using door = await openHttpDoor(serve, { rule: RULE });
  const socket = await door.enter();
  const answer = heard(socket);
  socket.end(Buffer.from(text, "latin1"));
  await answer;
  await door.over();
  checkOutside(said.join(""));
  assert.equal(door.facts.filter(({ kind }) => kind === "connection").length, 1);
}

test("whatever a tool says, what goes out is permitted requests", async () => {
  const endMs = Date.now() + fuzzMs;
  let inputs = 0;
  const counted = fc.asyncProperty(stream, async (text) => {
    inputs += 1;
    await check(text);
  });
  await fc.assert(counted, { numRuns: INPUTS });
  while (Date.now() < endMs) await fc.assert(counted, { numRuns: INPUTS });
  if (fuzzMs > 0) console.log(`${inputs} inputs`);
});
