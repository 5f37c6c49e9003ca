import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type DnsQuery,
  encodeReply,
  parseQuery,
  QUERY_BYTES_MAX,
  RCODE,
  SHOWN_LENGTH_MAX,
} from "./dns-message.ts";
import { encodeQuery, readReply } from "./dns-query.fixture.ts";

function query(message: Uint8Array): DnsQuery {
  const parsed = parseQuery(message);
  assert.equal(parsed.kind, "query");
  return (parsed as Extract<typeof parsed, { kind: "query" }>).query;
}

/** Of a message that is answered without being judged. */
function rcodeOf(message: Uint8Array): number {
  const parsed = parseQuery(message);
  assert.equal(parsed.kind, "reply");
  return readReply((parsed as Extract<typeof parsed, { kind: "reply" }>).reply).rcode;
}

test("a question is read, in lower case, and echoed as it was asked", () => {
  const asked = query(encodeQuery({ name: "eXaMple.COM", type: 28, id: 7 }));
  assert.equal(asked.hostname, "example.com");
  assert.equal(asked.shown, "example.com");
  assert.equal(asked.type, 28);
  assert.equal(asked.class, 1);
  const reply = encodeReply(asked, RCODE.NOERROR);
  assert.ok(Buffer.from(reply).includes(Buffer.from("\x07eXaMple\x03COM")));
  assert.equal(readReply(reply).id, 7);
});

test("answers carry what was copied, an address and how long it holds", () => {
  const asked = query(encodeQuery({ name: "example.com" }));
  const reply = readReply(encodeReply(asked, RCODE.NOERROR, ["198.18.0.2"]));
  assert.deepEqual(reply.answers, [{ type: 1, ttl: 60, data: "c6120002" }]);
  assert.equal(reply.flags, 0x8180, "an answer, recursion desired and available");
  const plain = query(encodeQuery({ name: "example.com", flags: 0x0010 }));
  assert.equal(readReply(encodeReply(plain, RCODE.NXDOMAIN)).flags, 0x8093);
  const six = readReply(encodeReply(asked, RCODE.NOERROR, ["2001:db8::1", "10.0.0.1"]));
  assert.deepEqual(
    six.answers.map(({ type, data }) => [type, data]),
    [
      [28, "20010db8000000000000000000000001"],
      [1, "0a000001"],
    ],
  );
});

test("EDNS is answered where it was asked with, and only there", () => {
  const plain = query(encodeQuery({ name: "example.com" }));
  assert.equal(readReply(encodeReply(plain, RCODE.NOERROR)).edns, undefined);
  const asked = query(
    encodeQuery({ name: "example.com", edns: { version: 0, flags: 0x80ff, data: "abcd" } }),
  );
  assert.deepEqual(readReply(encodeReply(asked, RCODE.NOERROR)).edns, {
    size: QUERY_BYTES_MAX,
    extended: 0,
    version: 0,
    flags: 0x8000,
  });
  const message = encodeQuery({ name: "example.com", edns: { version: 1, flags: 0, data: "" } });
  const parsed = parseQuery(message);
  assert.equal(parsed.kind, "reply");
  const { rcode, edns } = readReply((parsed as { reply: Uint8Array }).reply);
  assert.deepEqual([rcode, edns?.extended, edns?.version], [0, 1, 0], "BADVERS, in two parts");
});

test("what holds more or less than one question is malformed", () => {
  const good = encodeQuery({ name: "example.com" });
  for (const at of [5, 7, 9, 11]) {
    const changed = Buffer.from(good);
    changed[at] = 2;
    assert.equal(rcodeOf(changed), RCODE.FORMERR, `count at ${at}`);
  }
  const none = Buffer.from(good);
  none[5] = 0;
  assert.equal(rcodeOf(none), RCODE.FORMERR);
  assert.equal(rcodeOf(Buffer.concat([good, Buffer.of(0)])), RCODE.FORMERR, "something behind it");
  const noOpt = Buffer.from(encodeQuery({ name: "example.com", edns: { version: 0, flags: 0, data: "" } }));
  noOpt[good.length + 2] = 42;
  assert.equal(rcodeOf(noOpt), RCODE.FORMERR, "another record");
  const named = Buffer.from(encodeQuery({ name: "example.com", edns: { version: 0, flags: 0, data: "" } }));
  named[good.length] = 1;
  assert.equal(rcodeOf(named), RCODE.FORMERR, "an OPT record with a name");
  for (let length = 2; length < good.length; length += 1)
    assert.equal(rcodeOf(good.subarray(0, length)), RCODE.FORMERR, `${length} bytes of it`);
  const withOpt = encodeQuery({ name: "example.com", edns: { version: 0, flags: 0, data: "00ff" } });
  for (let length = good.length; length < withOpt.length; length += 1)
    assert.equal(rcodeOf(withOpt.subarray(0, length)), RCODE.FORMERR, `${length} bytes of it`);
});

test("pointers, extended labels and names too long are malformed", () => {
  const withName = (hex: string): Uint8Array =>
    Buffer.concat([
      encodeQuery({ name: "" }).subarray(0, 12),
      Buffer.from(hex, "hex"),
      Buffer.from("00010001", "hex"),
    ]);
  assert.equal(rcodeOf(withName("c00c")), RCODE.FORMERR, "to itself");
  assert.equal(rcodeOf(withName("03777777c010")), RCODE.FORMERR);
  assert.equal(rcodeOf(withName("4100")), RCODE.FORMERR, "RFC 2673");
  assert.equal(rcodeOf(withName(`40${"61".repeat(64)}00`)), RCODE.FORMERR, "64 bytes");
  const label = `3f${"61".repeat(63)}`;
  const rest = (length: number): string => `${length.toString(16)}${"61".repeat(length)}00`;
  assert.equal(query(withName(`${label.repeat(3)}${rest(61)}`)).shown.length, 253);
  assert.equal(rcodeOf(withName(`${label.repeat(3)}${rest(62)}`)), RCODE.FORMERR, "256 bytes");
  assert.equal(rcodeOf(withName(`${label.repeat(4)}00`)), RCODE.FORMERR);
});

test("a message longer than any question is malformed", () => {
  const filled = (length: number): Uint8Array => {
    const bare = encodeQuery({ name: "example.com", edns: { version: 0, flags: 0, data: "" } }).length;
    return encodeQuery({
      name: "example.com",
      edns: { version: 0, flags: 0, data: "00".repeat(length - bare) },
    });
  };
  assert.equal(query(filled(QUERY_BYTES_MAX)).hostname, "example.com");
  assert.equal(rcodeOf(filled(QUERY_BYTES_MAX + 1)), RCODE.FORMERR);
});

test("other kinds of query are not implemented, answers and scraps get no answer", () => {
  for (const opcode of [1, 2, 4, 5, 15])
    assert.equal(rcodeOf(encodeQuery({ name: "example.com", flags: opcode << 11 })), RCODE.NOTIMP);
  assert.equal(parseQuery(encodeQuery({ name: "example.com", flags: 0x8000 })).kind, "silence");
  assert.equal(parseQuery(Buffer.of(1, 2, 0x80)).kind, "silence");
  assert.equal(parseQuery(Buffer.of()).kind, "silence");
  assert.equal(parseQuery(Buffer.of(1)).kind, "silence");
});

test("a label with a byte that no host's name has makes no name, and shows as printable text", () => {
  for (const [labels, shown] of [
    [["a.b", "com"], "a\\046b.com"],
    [["a\0", "com"], "a\\000.com"],
    [["\n\x1b[31m", "com"], "\\010\\027\\09131m.com"],
    [["a\\", "com"], "a\\092.com"],
    [["*", "example", "com"], "\\042.example.com"],
    [["b\xfccher", "de"], "b\\252cher.de"],
    [[], "."],
  ] as const) {
    const asked = query(encodeQuery({ labels }));
    assert.equal(asked.hostname, undefined, shown);
    assert.equal(asked.shown, shown);
  }
  const long = query(encodeQuery({ labels: Array.from({ length: 4 }, () => "\xff".repeat(60)) }));
  assert.equal(long.shown.length, SHOWN_LENGTH_MAX);
});

test("what a host is called reads as it was written", () => {
  const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 8 }), (labels) => {
      const name = labels.join(".");
      const { hostname, shown } = query(encodeQuery({ name }));
      assert.equal(hostname, name.toLowerCase());
      assert.equal(shown, hostname);
    }),
  );
});
