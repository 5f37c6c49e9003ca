import { type ClientHello, ClientHelloParser, type RefusedHello } from "./client-hello.ts";
import { Refusal } from "./visit.ts";

/** RFC 8446 4.1.3: the random of a ServerHello that asks for another ClientHello, SHA-256 of "HelloRetryRequest". */
const RETRY_RANDOM: Buffer = Buffer.from(
  "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c",
  "hex",
);
const RECORD_HEADER_BYTES = 5;
const RECORD = { alert: 21, handshake: 22 } as const;
const SERVER_HELLO = 2;
/** Of its message: type, length and version come before the random. */
const RANDOM_AT = 6;

/** What is known of the server's first answer. `silent`: nothing yet. `settled`: no other hello can follow. */
type Answer = "silent" | "retry" | "settled";

/**
 * Watches for the hello that follows a HelloRetryRequest (RFC 8446 4.1.2): it stands in the clear, and a server may go
 * by the name in it instead of the first one's. Before the server has answered there is none.
 */
export class SecondHello {
  readonly #whyNot: (hello: ClientHello) => Omit<RefusedHello, "state"> | undefined;
  readonly #inside: Records;
  readonly #outside = new Records();
  readonly #parser = new ClientHelloParser();
  /** The beginning of the server's first handshake message. */
  #begun: Buffer = Buffer.alloc(0);
  #answer: Answer = "silent";

  /** @param length bytes of the first hello @param whyNot judges the second as the first was */
  constructor(length: number, whyNot: (hello: ClientHello) => Omit<RefusedHello, "state"> | undefined) {
    this.#inside = new Records(length);
    this.#whyNot = whyNot;
  }

  /** Takes what the tool says, from its very first byte. @throws Refusal where a second hello may not pass */
  see(chunk: Buffer): void {
    if (this.#answer === "settled") return;
    for (const { type, header, fragment } of this.#inside.cut(chunk)) {
      if (type !== RECORD.handshake) continue;
      if (this.#answer === "silent")
        throw new Refusal("something follows the ClientHello before the server has answered it");
      if (this.#judge(header, fragment)) return;
    }
  }

  /** Takes what the server says, from its very first byte. */
  hear(chunk: Buffer): void {
    if (this.#answer !== "silent") return;
    for (const { type, fragment } of this.#outside.cut(chunk)) {
      if (type === RECORD.alert) continue;
      this.#begun = Buffer.concat([this.#begun, fragment.subarray(0, RANDOM_AT + RETRY_RANDOM.length)]);
      const random = this.#begun.subarray(RANDOM_AT, RANDOM_AT + RETRY_RANDOM.length);
      const isHello = type === RECORD.handshake && (this.#begun[0] ?? SERVER_HELLO) === SERVER_HELLO;
      if (isHello && random.length < RETRY_RANDOM.length) continue;
      this.#answer = isHello && random.equals(RETRY_RANDOM) ? "retry" : "settled";
      return;
    }
  }

  /** @returns whether the second hello is whole, and may pass. */
  #judge(header: Buffer | undefined, fragment: Buffer): boolean {
    if (header !== undefined) this.#parser.push(header);
    const parsed = this.#parser.push(fragment);
    if (parsed.state === "more") return false;
    const refusal = parsed.state === "refused" ? parsed : this.#whyNot(parsed);
    if (refusal !== undefined) throw new Refusal(`the second hello: ${refusal.why}`);
    this.#answer = "settled";
    return true;
  }
}

/** A piece of one record (RFC 8446 5.1); its header comes with the first. */
interface Piece {
  readonly type: number;
  readonly header?: Buffer;
  readonly fragment: Buffer;
}

/** Finds the records in a stream, however it is cut. */
class Records {
  readonly #header: Buffer = Buffer.alloc(RECORD_HEADER_BYTES);
  #headerBytes = 0;
  #fragmentLeft = 0;
  /** Bytes that are not looked at. */
  #skipped: number;

  constructor(skipped = 0) {
    this.#skipped = skipped;
  }

  *cut(chunk: Buffer): Generator<Piece> {
    let at = Math.min(this.#skipped, chunk.length);
    this.#skipped -= at;
    while (at < chunk.length) {
      let header: Buffer | undefined;
      if (this.#fragmentLeft === 0) {
        const part = chunk.subarray(at, at + RECORD_HEADER_BYTES - this.#headerBytes);
        this.#header.set(part, this.#headerBytes);
        this.#headerBytes += part.length;
        at += part.length;
        if (this.#headerBytes < RECORD_HEADER_BYTES) return;
        this.#headerBytes = 0;
        this.#fragmentLeft = this.#header.readUInt16BE(3);
        header = Buffer.from(this.#header);
      }
      const fragment = chunk.subarray(at, at + this.#fragmentLeft);
      at += fragment.length;
      this.#fragmentLeft -= fragment.length;
      yield { type: this.#header[0] ?? 0, fragment, ...(header === undefined ? {} : { header }) };
    }
  }
}
