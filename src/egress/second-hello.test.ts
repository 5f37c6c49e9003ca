import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { helloMessage, records, serverName, vector } from "./client-hello.fixture.ts";
import { RETRY, serverHello } from "./second-hello.fixture.ts";
import { SecondHello } from "./second-hello.ts";
import { Refusal } from "./visit.ts";

const FIRST = records(helloMessage());
const SAME = records(helloMessage());
const OTHER = records(helloMessage({ extensions: [serverName("b.test")] }));
const PLAIN = serverHello(Buffer.alloc(32, 5));
const AGAIN = serverHello(RETRY);
const CHANGE = Buffer.from([20, 3, 3, 0, 1, 1]);
const WARNING = Buffer.from([21, 3, 3, 0, 2, 1, 112]);
const EARLY = Buffer.concat([Buffer.from([23, 3, 3]), vector(2, Buffer.alloc(300, 22))]);
/** Encrypted, it may begin as anything: here as a ClientHello does. */
const FINISHED = Buffer.concat([Buffer.from([22, 3, 3]), vector(2, Buffer.alloc(40, 1))]);
const KEY_EXCHANGE = records(Buffer.concat([Buffer.of(16), vector(3, Buffer.alloc(33))]));

type Said = readonly [who: "tool" | "host", bytes: Buffer];
const tool = (...bytes: Buffer[]): Said => ["tool", Buffer.concat(bytes)];
const host = (...bytes: Buffer[]): Said => ["host", Buffer.concat(bytes)];

/** Plays a conversation, each turn cut into pieces of `size`; the first hello is said. */
function play(said: readonly Said[], size: number): string {
  const watch = new SecondHello(FIRST.length, ({ serverName: name }) =>
    name === "a.test" ? undefined : { why: `it names ${name}` },
  );
  try {
    for (const [who, bytes] of [tool(FIRST), ...said])
      for (let at = 0; at < bytes.length; at += size) {
        // A buffer that is read into again, as a relay's is.
        const piece = Buffer.from(bytes.subarray(at, at + size));
        if (who === "tool") watch.see(piece);
        else watch.hear(piece);
        piece.fill(0xee);
      }
    return "passes";
  } catch (error) {
    assert.ok(error instanceof Refusal, String(error));
    return error.message;
  }
}

const TALKS: Readonly<Record<string, readonly [said: readonly Said[], told: RegExp]>> = {
  "TLS 1.3": [[host(PLAIN, EARLY), tool(CHANGE, EARLY, EARLY)], /^passes$/],
  "TLS 1.2": [[host(PLAIN), tool(KEY_EXCHANGE, CHANGE, FINISHED, EARLY)], /^passes$/],
  "TLS 1.2, resumed": [[host(PLAIN, CHANGE, FINISHED), tool(CHANGE, FINISHED)], /^passes$/],
  "a second hello with the name": [[host(AGAIN), tool(CHANGE, SAME), tool(FINISHED)], /^passes$/],
  "early data before it": [[tool(CHANGE, EARLY), host(AGAIN), tool(EARLY, SAME)], /^passes$/],
  "another name": [[host(AGAIN), tool(CHANGE, OTHER)], /^the second hello: it names b\.test$/],
  "another name, after early data": [[tool(EARLY), host(AGAIN, CHANGE), tool(EARLY, OTHER)], /names b\.test/],
  "another name, after a warning": [[host(WARNING, AGAIN), tool(OTHER)], /names b\.test/],
  "another name, of an answer in pieces": [[host(serverHello(RETRY, 9)), tool(OTHER)], /names b\.test/],
  "another name, in records of a byte": [
    [host(AGAIN), tool(records(helloMessage({ extensions: [serverName("b.test")] }), 1))],
    /names b\.test/,
  ],
  "another name, behind an empty record": [
    [host(AGAIN), tool(Buffer.from([22, 3, 3, 0, 0]), OTHER)],
    /^the second hello: the TLS ClientHello is malformed: an empty record$/,
  ],
  "before the server has asked for it": [
    [tool(CHANGE, SAME)],
    /^something follows the ClientHello before the server has answered it$/,
  ],
  "before the server has said all of it": [[host(AGAIN.subarray(0, 40)), tool(OTHER)], /before the server/],
  "what is no hello": [
    [host(AGAIN), tool(FINISHED)],
    /^the second hello: the TLS ClientHello is malformed: /,
  ],
  "an answer that is no TLS": [
    [host(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")), tool(SAME)],
    /^passes$/,
  ],
};

for (const [what, [said, told]] of Object.entries(TALKS))
  test(`${what}: ${told.source.includes("passes") ? "passes" : "is refused"}, however it is cut`, () => {
    for (const size of [1, 2, 5, 7, 44, 10_000]) assert.match(play(said, size), told, `in pieces of ${size}`);
  });

test("bytes of any kind neither throw nor hang", () => {
  const turn = fc.tuple(
    fc.constantFrom<Said[0]>("tool", "host"),
    fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom(AGAIN, PLAIN, SAME, OTHER, CHANGE, EARLY, FINISHED, WARNING),
    ),
  );
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 8 }), fc.integer({ min: 1, max: 300 }), (said, size) => {
      play(said, size);
    }),
  );
});
