/** A length said more than was there, or less. */
export class Truncated extends Error {}

/** Reads the presentation language of TLS (RFC 8446 3) off a whole message. */
export class OctetReader {
  readonly #octets: Buffer;
  #at = 0;

  constructor(octets: Buffer) {
    this.#octets = octets;
  }

  get atEnd(): boolean {
    return this.#at === this.#octets.length;
  }

  /** @throws Truncated */
  bytes(count: number): Buffer {
    if (this.#at + count > this.#octets.length) throw new Truncated();
    this.#at += count;
    return this.#octets.subarray(this.#at - count, this.#at);
  }

  /** Big-endian, of one or two bytes. @throws Truncated */
  number(size: 1 | 2): number {
    return this.bytes(size).readUIntBE(0, size);
  }

  /** One with a length of `size` bytes before it. @throws Truncated */
  vector(size: 1 | 2): OctetReader {
    return new OctetReader(this.bytes(this.number(size)));
  }

  rest(): Buffer {
    return this.bytes(this.#octets.length - this.#at);
  }

  /** @throws Truncated where something is left. */
  end(): void {
    if (!this.atEnd) throw new Truncated();
  }
}
