import { isHostName } from "./host-name.ts";
import { OctetReader, Truncated } from "./octet-reader.ts";
import { ALERT } from "./tls-alert.ts";

/** Of the handshake message, its header with it. Hellos with post-quantum key shares are about 2 KiB. */
export const HELLO_BYTES_MAX: number = 16 * 1024;
/** A hello may be split over records at will (RFC 8446 5.1); each costs a header. */
export const HELLO_RECORDS_MAX = 4096;
/** Clients send about twenty. */
export const HELLO_EXTENSIONS_MAX = 128;
/** RFC 8446 5.1: `TLSPlaintext.fragment`. */
const FRAGMENT_BYTES_MAX: number = 2 ** 14;

const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
const RANDOM_BYTES = 32;
const SESSION_ID_BYTES_MAX = 32;

const RECORD_HANDSHAKE = 22;
const MESSAGE_CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
/** Hellos with another one inside: RFC 9849, its drafts, and `encrypted_server_name` before them. */
const EXTENSIONS_ENCRYPTED: ReadonlySet<number> = new Set([
  0xfe0d, 0xfe0c, 0xfe0b, 0xfe0a, 0xfe09, 0xfe08, 0xffce,
]);

/** What a ClientHello says in the clear. */
export interface ClientHello {
  readonly state: "hello";
  /** RFC 6066 3, lower case; undefined where the extension is absent. */
  readonly serverName: string | undefined;
  /** It holds an encrypted hello, or something that looks like one (RFC 9849 6.2): which, nobody here can tell. */
  readonly encrypted: boolean;
  /** Bytes of the records that hold it. What comes after is not part of it. */
  readonly length: number;
}

export interface RefusedHello {
  readonly state: "refused";
  readonly why: string;
  /** For the client, where it speaks TLS and so understands one. */
  readonly alert?: number;
}

export type HelloState = { readonly state: "more" } | ClientHello | RefusedHello;

const MORE: HelloState = { state: "more" };

/** What came instead of TLS, by how it begins: the words a tool's owner needs. */
const STRANGERS: readonly (readonly [RegExp, string])[] = [
  [/^(GET |HEAD |POST |PUT |PATCH|DELET|OPTIO|TRACE|CONNE|PRI \*)/, "it looks like HTTP in the clear"],
  [/^SSH-/, "it looks like SSH"],
  [/^(EHLO|HELO) /i, "it looks like SMTP"],
  [/^PROXY/, "it looks like the PROXY protocol"],
  [/^[\x04\x05]/, "it looks like SOCKS"],
  [/^\0\0\0[\x08-\xff]/, "it looks like PostgreSQL, which asks for TLS in the clear first"],
  [/^[\x80-\xff].\x01/s, "it looks like a hello of SSL 2"],
  [/^[\x14\x15\x17]\x03/, "it is a TLS record, but not of a handshake"],
];

function notTls(header: Buffer): RefusedHello {
  const stranger = STRANGERS.find(([shape]) => shape.test(header.toString("latin1")));
  return { state: "refused", why: `no TLS ClientHello came: ${stranger?.[1] ?? "it is not TLS"}` };
}

function malformed(what: string): RefusedHello {
  return { state: "refused", why: `the TLS ClientHello is malformed: ${what}`, alert: ALERT.decodeError };
}

class Malformed extends Error {}

/** RFC 6066 3: a list with exactly one `host_name`. */
function serverNameOf(extension: OctetReader): string {
  const list = extension.vector(2);
  extension.end();
  if (list.number(1) !== 0) throw new Malformed("a server name that is no host name");
  const name = list.vector(2).rest().toString("latin1").toLowerCase();
  list.end();
  if (!isHostName(name)) throw new Malformed("a server name that is not a plain DNS name");
  return name;
}

/** RFC 8446 4.1.2. @throws Malformed, Truncated */
function read(body: Buffer, length: number): ClientHello {
  const hello = new OctetReader(body);
  if (hello.number(2) >> 8 !== 3) throw new Malformed("its version is not one of TLS");
  hello.bytes(RANDOM_BYTES);
  if (hello.vector(1).rest().length > SESSION_ID_BYTES_MAX) throw new Malformed("its session id is too long");
  const suites = hello.vector(2).rest().length;
  if (suites === 0 || suites % 2 !== 0) throw new Malformed("its list of cipher suites");
  if (hello.vector(1).rest().length === 0) throw new Malformed("its list of compression methods");
  const seen = new Set<number>();
  let serverName: string | undefined;
  // Before TLS 1.3 the extensions might be missing altogether (RFC 5246 7.4.1.2).
  const extensions = hello.atEnd ? undefined : hello.vector(2);
  hello.end();
  while (extensions?.atEnd === false) {
    const type = extensions.number(2);
    const extension = extensions.vector(2);
    // RFC 8446 4.2. GREASE (RFC 8701) may not repeat a value either.
    if (seen.has(type)) throw new Malformed("an extension stands twice");
    if (seen.add(type).size > HELLO_EXTENSIONS_MAX)
      throw new Malformed(`more than ${HELLO_EXTENSIONS_MAX} extensions`);
    if (type === EXTENSION_SERVER_NAME) serverName = serverNameOf(extension);
  }
  return { state: "hello", serverName, encrypted: !seen.isDisjointFrom(EXTENSIONS_ENCRYPTED), length };
}

/** Takes a stream's first bytes, however they are cut, until it is known what its ClientHello says. */
export class ClientHelloParser {
  readonly #header: Buffer = Buffer.alloc(RECORD_HEADER_BYTES);
  #headerBytes = 0;
  /** Of the record that is being read. */
  #fragmentLeft = 0;
  #records = 0;
  /** The handshake message as far as it came. */
  #message: Buffer = Buffer.alloc(0);
  #messageBytes = 0;
  #length = 0;
  #state: HelloState = MORE;

  /** @returns the last word as soon as it is not `more`; bytes after that change nothing. */
  push(chunk: Uint8Array): HelloState {
    let at = 0;
    while (this.#state.state === "more" && at < chunk.length) {
      const wanted = this.#fragmentLeft > 0 ? this.#fragmentLeft : RECORD_HEADER_BYTES - this.#headerBytes;
      const piece = chunk.subarray(at, at + wanted);
      at += piece.length;
      this.#length += piece.length;
      this.#state = this.#fragmentLeft > 0 ? this.#takeFragment(piece) : this.#takeHeader(piece);
    }
    return this.#state;
  }

  #takeHeader(piece: Uint8Array): HelloState {
    this.#header.set(piece, this.#headerBytes);
    this.#headerBytes += piece.length;
    if (this.#headerBytes < RECORD_HEADER_BYTES) return MORE;
    this.#headerBytes = 0;
    // The minor version says nothing (RFC 8446 5.1). No record of another type may come in between.
    if (this.#header[0] !== RECORD_HANDSHAKE || this.#header[1] !== 3)
      return this.#records === 0 ? notTls(this.#header) : malformed("a record of another type in between");
    this.#records += 1;
    if (this.#records > HELLO_RECORDS_MAX) return malformed(`more than ${HELLO_RECORDS_MAX} records`);
    this.#fragmentLeft = this.#header.readUInt16BE(3);
    if (this.#fragmentLeft === 0) return malformed("an empty record");
    if (this.#fragmentLeft > FRAGMENT_BYTES_MAX) return malformed("a record that is too long");
    return MORE;
  }

  #takeFragment(piece: Uint8Array): HelloState {
    const bytes = this.#messageBytes + piece.length;
    if (bytes > this.#message.length) {
      const grown = Buffer.alloc(Math.max(bytes, 2 * this.#message.length));
      grown.set(this.#message.subarray(0, this.#messageBytes));
      this.#message = grown;
    }
    this.#message.set(piece, this.#messageBytes);
    this.#messageBytes = bytes;
    this.#fragmentLeft -= piece.length;
    return bytes < MESSAGE_HEADER_BYTES ? MORE : this.#judge();
  }

  #judge(): HelloState {
    if (this.#message[0] !== MESSAGE_CLIENT_HELLO) return malformed("another handshake message comes first");
    const whole = MESSAGE_HEADER_BYTES + this.#message.readUIntBE(1, 3);
    if (whole > HELLO_BYTES_MAX) return malformed(`it is longer than ${HELLO_BYTES_MAX} bytes`);
    // A message on which all keys depend ends with its record (RFC 8446 5.1).
    if (this.#messageBytes + this.#fragmentLeft > whole)
      return malformed("something follows it in its record");
    if (this.#messageBytes < whole) return MORE;
    try {
      return read(this.#message.subarray(MESSAGE_HEADER_BYTES, whole), this.#length);
    } catch (error) {
      if (error instanceof Truncated) return malformed("a length in it does not fit");
      if (error instanceof Malformed) return malformed(error.message);
      throw error;
    }
  }
}
