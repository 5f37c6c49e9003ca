import ipaddr from "ipaddr.js";

/**
 * The part of DNS that a resolver inside of a sandbox needs (RFC 1035 section 4, RFC 6891): one question in, an answer
 * that nothing was asked for elsewhere out. Every function takes any bytes and throws on none.
 */

/** More than any query that is meant: what is longer carries something else. Also what we say we take (RFC 6891 6.2.5). */
export const QUERY_BYTES_MAX = 1_232;
/** RFC 1035 2.3.4: of a name on the wire, its lengths and the root's included. */
const NAME_BYTES_MAX = 255;
/** Of a name as text in a record. */
export const SHOWN_LENGTH_MAX = 253;
/** Seconds. An address stands for its name as long as the sandbox lives; short, so that nothing outlives it. */
const TTL_S = 60;

const HEADER_BYTES = 12;
const RESPONSE_FLAG = 0x8000;
const OPCODE_MASK = 0x7800;
const RECURSION_AVAILABLE_FLAG = 0x0080;
/** RD (RFC 1035 4.1.1) and CD (RFC 4035 3.1.6): copied into the answer. */
const COPIED_FLAGS = 0x0110;
/** RFC 3225 section 3: copied too, of an OPT record's flags. */
const DNSSEC_OK_FLAG = 0x8000;
/** RFC 1035 4.1.4: these bits of a length make a pointer, or something that is none of the labels known. */
const NO_LABEL_BITS = 0xc0;
/** A pointer to the question, which always stands behind the header. */
const QUESTION_POINTER = 0xc000 | HEADER_BYTES;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

export const TYPE = { A: 1, AAAA: 28, OPT: 41, IXFR: 251, AXFR: 252 } as const;
export const CLASS_IN = 1;

/** Version and flags of an OPT record (RFC 6891 6.1.3). */
interface Edns {
  readonly version: number;
  readonly flags: number;
}

/** What every answer needs of what was asked. */
interface Asking {
  readonly id: number;
  readonly flags: number;
  /** As it came: who mixes cases (0x20) or compares bytes finds his own again. */
  readonly question: Uint8Array;
  readonly edns: Edns | undefined;
}

/** A well-formed standard query. */
export interface DnsQuery extends Asking {
  /** Lower case, no dot at the end; undefined where a label holds what no host's name does. */
  readonly hostname: string | undefined;
  /** For a record: printable ASCII, at most `SHOWN_LENGTH_MAX` characters. Never to be compared with a name. */
  readonly shown: string;
  readonly type: number;
  readonly class: number;
}

export type ParsedQuery =
  | { readonly kind: "query"; readonly query: DnsQuery }
  /** It is no query that can be judged; this says so. */
  | { readonly kind: "reply"; readonly reply: Uint8Array }
  /** Too short for an answer, or an answer itself: two resolvers would talk for ever. */
  | { readonly kind: "silence" };

export function parseQuery(message: Uint8Array): ParsedQuery {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  if (message.length < 2) return { kind: "silence" };
  const id = view.getUint16(0);
  // A message that ends before its flags asks nothing; what it would have said of them is not known.
  const flags = message.length < 4 ? (message[2] ?? 0) << 8 : view.getUint16(2);
  if (flags & RESPONSE_FLAG) return { kind: "silence" };
  const asking: Asking = { id, flags, question: new Uint8Array(), edns: undefined };
  if (flags & OPCODE_MASK) return { kind: "reply", reply: encodeReply(asking, RCODE.NOTIMP) };
  const query = message.length > QUERY_BYTES_MAX ? undefined : parseBody(message, view, asking);
  if (query === undefined) return { kind: "reply", reply: encodeReply(asking, RCODE.FORMERR) };
  if (query.edns !== undefined && query.edns.version !== 0)
    return { kind: "reply", reply: encodeReply(query, RCODE.BADVERS) };
  return { kind: "query", query };
}

/** One question, at most an OPT record, and nothing else. */
function parseBody(message: Uint8Array, view: DataView, asking: Asking): DnsQuery | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const [questions, answers, authorities, additional] = [4, 6, 8, 10].map((at) => view.getUint16(at));
  if (questions !== 1 || answers !== 0 || authorities !== 0) return undefined;
  const name = parseName(message);
  if (name === undefined) return undefined;
  const end = name.end + 4;
  let edns: Edns | undefined;
  if (additional === 1) {
    edns = parseOpt(message, view, end);
    if (edns === undefined) return undefined;
  } else if (additional !== 0 || end !== message.length) return undefined;
  return {
    ...asking,
    question: message.slice(HEADER_BYTES, end),
    edns,
    ...describe(name.labels),
    type: view.getUint16(name.end),
    class: view.getUint16(name.end + 2),
  };
}

/** Compression has nothing to point to in a question: a pointer there is a loop or a trick. */
function parseName(message: Uint8Array): { labels: Uint8Array[]; end: number } | undefined {
  const labels: Uint8Array[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined || length & NO_LABEL_BITS) return undefined;
    if (at + 1 - HEADER_BYTES + length > NAME_BYTES_MAX) return undefined;
    if (length === 0) return { labels, end: at + 1 };
    labels.push(message.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

/** RFC 6891 6.1.2; it has to be the last thing in the message. */
function parseOpt(message: Uint8Array, view: DataView, at: number): Edns | undefined {
  const FIXED_BYTES = 11;
  if (at + FIXED_BYTES > message.length) return undefined;
  if (message[at] !== 0 || view.getUint16(at + 1) !== TYPE.OPT) return undefined;
  if (at + FIXED_BYTES + view.getUint16(at + 9) !== message.length) return undefined;
  return { version: view.getUint8(at + 6), flags: view.getUint16(at + 7) };
}

/** A dot inside of a label, like every other byte no host's name has, makes it no name that could be allowed. */
function describe(labels: readonly Uint8Array[]): Pick<DnsQuery, "hostname" | "shown"> {
  const texts = labels.map((label) => Buffer.from(label).toString("latin1").toLowerCase());
  const isHostname = texts.length > 0 && texts.every((text) => /^[a-z0-9_-]+$/.test(text));
  if (isHostname) return { hostname: texts.join("."), shown: texts.join(".") };
  // RFC 1035 5.1: how a byte that is no plain character is written.
  const escaped = (byte: string): string => `\\${byte.charCodeAt(0).toString().padStart(3, "0")}`;
  const shown = texts.map((text) => text.replaceAll(/[^a-z0-9_-]/g, escaped)).join(".");
  return { hostname: undefined, shown: shown.slice(0, SHOWN_LENGTH_MAX) || "." };
}

/**
 * An answer to what was asked. No error and no address is "there is such a name, and nothing of that type".
 * @param addresses IPv4 or IPv6, well-formed: they become A and AAAA records.
 */
export function encodeReply(asking: Asking, rcode: Rcode, addresses: readonly string[] = []): Uint8Array {
  const { question, edns } = asking;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(asking.id, 0);
  const copied = asking.flags & (OPCODE_MASK | COPIED_FLAGS);
  header.writeUInt16BE(RESPONSE_FLAG | copied | RECURSION_AVAILABLE_FLAG | (rcode & 0xf), 2);
  header.writeUInt16BE(question.length === 0 ? 0 : 1, 4);
  header.writeUInt16BE(addresses.length, 6);
  header.writeUInt16BE(edns === undefined ? 0 : 1, 10);
  const parts = [header, question, ...addresses.map(encodeAddress)];
  if (edns !== undefined) parts.push(encodeOpt(edns, rcode));
  return Buffer.concat(parts);
}

function encodeAddress(address: string): Uint8Array {
  const bytes = ipaddr.parse(address).toByteArray();
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(QUESTION_POINTER, 0);
  fixed.writeUInt16BE(bytes.length === 4 ? TYPE.A : TYPE.AAAA, 2);
  fixed.writeUInt16BE(CLASS_IN, 4);
  fixed.writeUInt32BE(TTL_S, 6);
  fixed.writeUInt16BE(bytes.length, 10);
  return Buffer.concat([fixed, Uint8Array.from(bytes)]);
}

/** Version 0, whatever was asked for: the highest there is (RFC 6891 6.1.3). */
function encodeOpt(edns: Edns, rcode: Rcode): Uint8Array {
  const record = Buffer.alloc(11);
  record.writeUInt16BE(TYPE.OPT, 1);
  record.writeUInt16BE(QUERY_BYTES_MAX, 3);
  record.writeUInt8(rcode >> 4, 5);
  record.writeUInt16BE(edns.flags & DNSSEC_OK_FLAG, 7);
  return record;
}
