import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import type { NetworkRule } from "../contract/network.ts";
import { SHOWN_LENGTH_MAX } from "./dns-message.ts";
import { encodeQuery, readReply } from "./dns-query.fixture.ts";
import { answer, NameTable } from "./names.ts";

const INPUTS = 20_000;
/** How long to go on beyond those, and then say how many were tried. */
const FUZZ_MS = Number(process.env["CALLGATE_FUZZ_MS"] ?? 0);
/** A table is used up by what is asked of it. */
const INPUTS_PER_TABLE = 2_000;

const RULES: readonly NetworkRule[] = ["a.example", "*.w.example"].map((host) => ({
  ...{ host, ports: [443], protocol: "tls" },
}));

/** Numbers that are the same for the same seed: mulberry32. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Any bytes, or a query in which some were changed, cut off or added. */
function makeInput(below: (below: number) => number): Uint8Array {
  if (below(8) === 0) return Uint8Array.from({ length: below(80) }, () => below(256));
  const name = ["A.eXample", "n.w.example", "evil.example", "w.example", "x".repeat(63), ""][below(6)] ?? "";
  const edns =
    below(2) === 0 ? {} : { edns: { version: below(8) === 0 ? below(256) : 0, flags: 0, data: "0001" } };
  const whole = encodeQuery({ id: below(65_536), name, type: below(4) === 0 ? below(260) : 1, ...edns });
  const cut = below(6) === 0 ? whole.subarray(0, below(whole.length + 1)) : whole;
  const bytes = Buffer.concat([cut, below(6) === 0 ? Buffer.alloc(below(2_000), below(256)) : Buffer.of()]);
  for (let changes = below(4); changes > 0 && bytes.length > 0; changes -= 1) {
    const at = below(3) === 0 ? below(Math.min(bytes.length, 12)) : below(bytes.length);
    bytes[at] = below(4) === 0 ? ([0, 0x3f, 0x40, 0x80, 0xc0, 0xff][below(6)] ?? 0) : below(256);
  }
  return bytes;
}

function check(input: Uint8Array, table: NameTable): void {
  const copy = Buffer.from(input);
  const told: string[] = [];
  const reply = answer(input, table, { onRefused: (name) => void told.push(name) });
  assert.deepEqual(Buffer.from(input), copy, "the input is left alone");
  assert.equal(reply === undefined, input.length < 2 || ((input[2] ?? 0) & 0x80) !== 0);
  assert.ok(told.length <= 1);
  for (const name of told) {
    assert.match(name, /^[\x21-\x7e]+$/);
    assert.ok(name.length <= SHOWN_LENGTH_MAX);
  }
  if (reply === undefined) return;
  assert.ok(reply.length <= 512, "no answer needs more than a datagram");
  const { id, flags, answers } = readReply(reply);
  assert.equal(id, copy.readUInt16BE(0));
  assert.equal(flags & 0x8080, 0x8080);
  assert.equal(flags & 0x7800, ((input[2] ?? 0) << 8) & 0x7800);
  if (answers.length === 0) return;
  const text = copy.toString("latin1").toLowerCase();
  assert.ok(/\x01a\x07example\0/.test(text) || /\x01w\x07example\0/.test(text), "a name of the rules");
  assert.match(answers[0]?.data ?? "", /^c61200/);
  assert.equal(answers.length, 1);
}

test("no bytes break the resolver, and only names of the rules get an address", () => {
  const seed = randomInt(2 ** 31);
  const below = random(seed);
  const endsMs = performance.now() + FUZZ_MS;
  let table = new NameTable(RULES);
  let tried = 0;
  for (; tried < INPUTS || performance.now() < endsMs; tried += 1) {
    if (tried % INPUTS_PER_TABLE === 0) table = new NameTable(RULES);
    const input = makeInput(below);
    try {
      check(input, table);
    } catch (error) {
      throw new Error(`seed ${seed}, input ${tried}: ${Buffer.from(input).toString("hex")}`, {
        cause: error,
      });
    }
  }
  if (FUZZ_MS > 0) console.log(`${tried} inputs tried, seed ${seed}`);
});
