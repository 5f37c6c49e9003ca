import assert from "node:assert/strict";
import { test } from "node:test";
import {
  alpn,
  capturedHello,
  type Extension,
  type HelloParts,
  helloMessage,
  number16,
  records,
  serverName,
  unframed,
  vector,
} from "./client-hello.fixture.ts";
import {
  ClientHelloParser,
  HELLO_BYTES_MAX,
  HELLO_EXTENSIONS_MAX,
  HELLO_RECORDS_MAX,
  type HelloState,
} from "./client-hello.ts";
import { ALERT } from "./tls-alert.ts";

function parse(bytes: Uint8Array): HelloState {
  return new ClientHelloParser().push(bytes);
}

function parseBytewise(bytes: Uint8Array): HelloState {
  const parser = new ClientHelloParser();
  let state: HelloState = { state: "more" };
  for (const byte of bytes) state = parser.push(Uint8Array.of(byte));
  return state;
}

function ofParts(parts: HelloParts): HelloState {
  return parse(records(helloMessage(parts)));
}

function whyRefused(state: HelloState): string {
  assert.equal(state.state, "refused");
  return state.state === "refused" ? state.why : "";
}

/** A hello whose message has exactly this many bytes. */
function helloOfBytes(bytes: number): Buffer {
  const name = serverName("a.test");
  const padding = bytes - helloMessage({ extensions: [name, [21, Buffer.alloc(0)]] }).length;
  return helloMessage({ extensions: [name, [21, Buffer.alloc(padding)]] });
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const)
  test(`a hello of OpenSSL for ${version}, in one piece and byte by byte`, async () => {
    const hello = await capturedHello({
      servername: "Some-Host.Example",
      ALPNProtocols: ["h2", "http/1.1"],
      minVersion: version,
      maxVersion: version,
    });
    const expected: HelloState = {
      state: "hello",
      serverName: "some-host.example",
      encrypted: false,
      length: hello.length,
    };
    assert.deepEqual(parse(hello), expected);
    assert.deepEqual(parseBytewise(hello), expected);
  });

test("a hello without SNI or without any extension has no name", async () => {
  const hello = parse(await capturedHello({}));
  assert.equal(hello.state === "hello" && hello.serverName, undefined);
  const old = ofParts({ extensions: null });
  assert.equal(old.state, "hello");
  assert.equal(old.state === "hello" && old.serverName, undefined);
});

test("a message may be split over records at will, within a bound", async () => {
  const message = unframed(await capturedHello({ servername: "a.test" }));
  for (const size of [1, 3, 4, 5, 100]) {
    const bytes = records(message, size);
    const state = parse(bytes);
    assert.equal(state.state === "hello" && state.serverName, "a.test", `records of ${size}`);
    assert.equal(state.state === "hello" && state.length, bytes.length);
    assert.deepEqual(parseBytewise(bytes), state);
  }
  assert.equal(parse(records(helloOfBytes(HELLO_RECORDS_MAX), 1)).state, "hello");
  assert.match(whyRefused(parse(records(helloOfBytes(HELLO_RECORDS_MAX + 1), 1))), /more than 4096 records/);
});

test("what follows the hello's records is not part of it", () => {
  const hello = records(helloMessage());
  const state = parse(Buffer.concat([hello, Buffer.from("\x14\x03\x03\0\x01\x01 early data")]));
  assert.equal(state.state === "hello" && state.length, hello.length);
});

test("a hello may have HELLO_BYTES_MAX bytes and not one more, which its header tells already", () => {
  assert.equal(parse(records(helloOfBytes(HELLO_BYTES_MAX))).state, "hello");
  const long = records(helloOfBytes(HELLO_BYTES_MAX + 1));
  assert.match(whyRefused(parse(long.subarray(0, 9))), /longer than 16384 bytes/);
});

test("GREASE in every list is passed over (RFC 8701)", () => {
  const state = ofParts({
    suites: Buffer.from([0x0a, 0x0a, 0x13, 0x01]),
    extensions: [
      [0x1a1a, Buffer.alloc(0)],
      serverName("a.test"),
      alpn("\x2a\x2a", "h2"),
      [0xfafa, Buffer.from([0])],
    ],
  });
  assert.equal(state.state === "hello" && state.serverName, "a.test");
});

test("an encrypted hello is told, of each version", () => {
  for (const type of [0xfe0d, 0xfe0c, 0xfe0b, 0xfe0a, 0xfe09, 0xfe08, 0xffce]) {
    const state = ofParts({ extensions: [serverName("a.test"), [type, Buffer.alloc(40)]] });
    assert.equal(state.state === "hello" && state.encrypted, true, type.toString(16));
  }
});

const NAMES_REFUSED: Readonly<Record<string, string>> = {
  empty: "",
  "dot at the end": "a.test.",
  "dot at the start": ".a.test",
  "empty label": "a..test",
  "not ASCII": "\xe4.test",
  "NUL inside": "a.test\0.b.test",
  space: "a.test ",
  wildcard: "*.test",
  "IPv4 address": "192.0.2.1",
  "short IPv4 address": "127.1",
  "hexadecimal IPv4 address": "0x7f000001",
  "IPv6 address": "2001:db8::1",
  "IPv6 address in brackets": "[::1]",
  "with a port": "a.test:443",
  "label too long": `${"a".repeat(64)}.test`,
  "name too long": `${"a.".repeat(125)}test`,
  "hyphen first": "-a.test",
  "hyphen last": "a-.test",
};

for (const [what, name] of Object.entries(NAMES_REFUSED))
  test(`a server name is refused: ${what}`, () => {
    const state = ofParts({ extensions: [serverName(name)] });
    assert.match(whyRefused(state), /not a plain DNS name/);
    assert.equal(state.state === "refused" && state.alert, ALERT.decodeError);
  });

const host = (name: string): Buffer => Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name))]);
const suffixed = (extension: Extension): Extension => [
  extension[0],
  Buffer.concat([extension[1], Buffer.from([0])]),
];

const MALFORMED: Readonly<Record<string, HelloParts>> = {
  "two server names": { extensions: [[0, vector(2, host("a.test"), host("b.test"))]] },
  "no server name in the list": { extensions: [[0, vector(2)]] },
  "a server name of another type": { extensions: [serverName("a.test", 1)] },
  "bytes after the server name's list": { extensions: [suffixed(serverName("a.test"))] },
  "server_name twice": { extensions: [serverName("a.test"), serverName("b.test")] },
  "an unknown extension twice": { extensions: [serverName("a.test"), [99, number16(1)], [99, number16(1)]] },
  "too many extensions": {
    extensions: Array.from({ length: HELLO_EXTENSIONS_MAX + 1 }, (_, at) => [1000 + at, Buffer.alloc(0)]),
  },
  "bytes after the extensions": { rest: Buffer.from([0]) },
  "a session id that is too long": { sessionId: Buffer.alloc(33) },
  "no cipher suites": { suites: Buffer.alloc(0) },
  "half a cipher suite": { suites: Buffer.alloc(3) },
  "no compression method": { compression: Buffer.alloc(0) },
  "another version": { version: 0x0403 },
};

for (const [what, parts] of Object.entries(MALFORMED))
  test(`a hello is refused: ${what}`, () => {
    const state = ofParts(parts);
    assert.match(whyRefused(state), /^the TLS ClientHello is malformed: /);
    assert.equal(state.state === "refused" && state.alert, ALERT.decodeError);
  });

test("HELLO_EXTENSIONS_MAX extensions pass", () => {
  const extensions = Array.from(
    { length: HELLO_EXTENSIONS_MAX },
    (_, at): Extension => [1000 + at, Buffer.alloc(0)],
  );
  assert.equal(ofParts({ extensions }).state, "hello");
});

test("records that are not of one hello are refused", () => {
  const message = helloMessage();
  const half = records(message.subarray(0, 20));
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from([22, 3, 1, 0, 0]), /an empty record/],
    [Buffer.concat([half, Buffer.from([22, 3, 1, 0, 0])]), /an empty record/],
    [Buffer.from([22, 3, 1, 0x40, 0x01]), /a record that is too long/],
    [Buffer.concat([half, Buffer.from([20, 3, 3, 0, 1])]), /another type in between/],
    [records(Buffer.concat([message, Buffer.from([11, 0, 0, 0])])), /something follows it/],
    [records(Buffer.from([2, 0, 0, 0])), /another handshake message/],
  ];
  for (const [bytes, why] of cases) assert.match(whyRefused(parse(bytes)), why);
  assert.equal(parse(Buffer.from([22, 3, 1, 0x40, 0x00])).state, "more");
});

test("what is not TLS is told by how it begins, without an alert", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["GET / HTTP/1.1\r\n", /HTTP in the clear/],
    ["PRI * HTTP/2.0", /HTTP in the clear/],
    ["SSH-2.0-OpenSSH", /SSH/],
    ["EHLO a.test", /SMTP/],
    ["PROXY TCP4 ", /PROXY protocol/],
    ["\x05\x01\0\0\0", /SOCKS/],
    ["\0\0\0\x08\x04\xd2\x16\x2f", /PostgreSQL/],
    ["\x80\x2e\x01\0\x02", /SSL 2/],
    ["\x17\x03\x03\0\x10", /not of a handshake/],
    ["\x16\x02\0\0\x10", /not TLS/],
    ["hello", /it is not TLS/],
  ];
  for (const [text, why] of cases) {
    const state = parse(Buffer.from(text, "latin1"));
    assert.match(whyRefused(state), why);
    assert.equal(state.state === "refused" && "alert" in state, false);
  }
});

test("the last word stays", () => {
  const parser = new ClientHelloParser();
  const refused = parser.push(Buffer.from("GET / "));
  assert.equal(parser.push(records(helloMessage())), refused);
});
