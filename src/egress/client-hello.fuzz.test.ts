import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { alpn, capturedHello, helloMessage, records, serverName, unframed } from "./client-hello.fixture.ts";
import { ClientHelloParser, HELLO_BYTES_MAX, type HelloState } from "./client-hello.ts";

/** In a run of all tests. */
const INPUTS = 20_000;
/** Set: for so long, with other inputs each time, and the number is printed. */
const fuzzMs = Number(process.env["CALLGATE_FUZZ_MS"] ?? 0);

function parse(bytes: Uint8Array, cuts: readonly number[]): HelloState {
  const parser = new ClientHelloParser();
  let at = 0;
  for (const cut of cuts) {
    parser.push(bytes.subarray(at, at + cut));
    at += cut;
  }
  return parser.push(bytes.subarray(at));
}

/** What has to hold of any input, however it is cut. */
function check(bytes: Buffer, cuts: readonly number[]): void {
  const state = parse(bytes, []);
  assert.deepEqual(parse(bytes, cuts), state);
  if (state.state === "more") assert.ok(bytes.length < 6 * HELLO_BYTES_MAX);
  if (state.state !== "hello") return;
  assert.ok(state.length <= bytes.length);
  const exact = bytes.subarray(0, state.length);
  assert.deepEqual(parse(exact, []), state, "what follows it changes nothing");
  assert.equal(parse(exact.subarray(0, -1), []).state, "more", "it needs all of its bytes");
  const { serverName: name } = state;
  if (name === undefined) return;
  assert.match(name, /^[a-z0-9._-]{1,253}$/);
  assert.ok(unframed(exact).toString("latin1").toLowerCase().includes(name), "its name stands in it");
}

const seed = fc.constantFrom("made", "captured-12", "captured-13");
const edit = fc.record({
  at: fc.nat({ max: 2_000 }),
  kind: fc.constantFrom("set", "insert", "remove", "swell"),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }),
});
const input = fc.record({
  seed,
  edits: fc.array(edit, { maxLength: 4 }),
  /** Before it is framed, so that records stay whole, or after. */
  framedFirst: fc.boolean(),
  fragmentBytes: fc.oneof(fc.constant(2 ** 14), fc.integer({ min: 1, max: 64 })),
  cuts: fc.array(fc.nat({ max: 40 }), { maxLength: 12 }),
  rest: fc.uint8Array({ maxLength: 8 }),
});

type Input = typeof input extends fc.Arbitrary<infer T> ? T : never;

function edited(bytes: Buffer, edits: Input["edits"]): Buffer {
  let result = Buffer.from(bytes);
  for (const { at: where, kind, bytes: by } of edits) {
    const at = where % (result.length + 1);
    const kept = kind === "insert" || kind === "swell" ? 0 : by.length;
    const put = kind === "remove" ? [] : kind === "swell" ? new Uint8Array(by[0] ?? 0) : by;
    result = Buffer.concat([result.subarray(0, at), Uint8Array.from(put), result.subarray(at + kept)]);
  }
  return result;
}

test(`a hello's parser holds against mutated hellos`, async () => {
  const versions = { servername: "a.test", ALPNProtocols: ["h2", "http/1.1"] } as const;
  const seeds: Readonly<Record<string, Buffer>> = {
    made: helloMessage({ extensions: [serverName("a.test"), alpn("h2"), [0xfe0d, Buffer.alloc(9)]] }),
    "captured-12": unframed(await capturedHello({ ...versions, maxVersion: "TLSv1.2" })),
    "captured-13": unframed(await capturedHello({ ...versions, minVersion: "TLSv1.3" })),
  };
  let tried = 0;
  const states = { more: 0, hello: 0, refused: 0 };
  const property = fc.property(input, (it) => {
    const message = seeds[it.seed] ?? Buffer.alloc(0);
    const first = it.framedFirst ? message : edited(message, it.edits);
    const framed = records(first, it.fragmentBytes);
    const bytes = Buffer.concat([it.framedFirst ? edited(framed, it.edits) : framed, it.rest]);
    check(bytes, it.cuts);
    tried += 1;
    states[parse(bytes, []).state] += 1;
  });
  const endMs = Date.now() + fuzzMs;
  do fc.assert(property, { numRuns: INPUTS });
  while (Date.now() < endMs);
  if (fuzzMs > 0) console.log(`client-hello: ${tried} inputs, ${JSON.stringify(states)}`);
  assert.ok(Math.min(...Object.values(states)) > tried / 100, "each outcome is met");
});

test("a hello's parser holds against anything", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(fc.nat({ max: 9 })), (bytes, cuts) =>
      check(Buffer.from(bytes), cuts),
    ),
  );
});
