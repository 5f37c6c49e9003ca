import type { GateCredential } from "./credentials/credential.ts";
import { placeholderForms } from "./credentials/placeholder-forms.ts";
import { Refusal } from "./visit.ts";

interface Sought {
  readonly bytes: Buffer;
  readonly name: string;
}

const PERCENT = 0x25;

/** Finds any of some texts in bytes that come in pieces. */
class Finder {
  readonly #sought: readonly Sought[];
  readonly #tailBytesMax: number;
  /** The last bytes that were seen: a text may have begun in them. */
  #tail: Buffer = Buffer.alloc(0);

  constructor(sought: readonly Sought[]) {
    this.#sought = sought;
    this.#tailBytesMax = Math.max(0, ...sought.map(({ bytes }) => bytes.length - 1));
  }

  find(chunk: Buffer): string | undefined {
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, this.#tailBytesMax)]);
    for (const { bytes, name } of this.#sought)
      if (seam.includes(bytes) || chunk.includes(bytes)) return name;
    const recent = chunk.length < this.#tailBytesMax ? seam : chunk;
    this.#tail = Buffer.from(recent.subarray(Math.max(0, recent.length - this.#tailBytesMax)));
    return undefined;
  }
}

function hexValue(byte: number | undefined): number {
  return byte === undefined ? Number.NaN : Number.parseInt(String.fromCharCode(byte), 16);
}

/** What `%` and two digits stand for, however the bytes are cut; whatever else stays. */
class PercentDecoder {
  /** A `%`, or one and a digit, that the last bytes ended with. */
  #pending: Buffer = Buffer.alloc(0);

  decode(chunk: Buffer): Buffer {
    if (this.#pending.length === 0 && !chunk.includes(PERCENT)) return chunk;
    const bytes = Buffer.concat([this.#pending, chunk]);
    const decoded = Buffer.alloc(bytes.length);
    let length = 0;
    let at = 0;
    for (; at < bytes.length; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === PERCENT) {
        const [high, low] = [hexValue(bytes[at + 1]), hexValue(bytes[at + 2])];
        if (at + 1 >= bytes.length || (!Number.isNaN(high) && at + 2 >= bytes.length)) break;
        if (!Number.isNaN(high) && !Number.isNaN(low)) {
          decoded[length] = high * 16 + low;
          length += 1;
          at += 2;
          continue;
        }
      }
      decoded[length] = byte;
      length += 1;
    }
    this.#pending = Buffer.from(bytes.subarray(at));
    return decoded.subarray(0, length);
  }
}

/**
 * Looks for what stands for a credential in bytes that no credential is added to, however they are cut: plain, in
 * base64 and hexadecimal, and any of these percent-encoded, in parts or whole.
 * The words name the credential and never hold the placeholder.
 */
export class PlaceholderWatch {
  readonly #plain: Finder;
  readonly #decoded: Finder;
  readonly #decoder: PercentDecoder = new PercentDecoder();
  readonly #isIdle: boolean;

  constructor(credentials: readonly GateCredential[]) {
    const sought = credentials.flatMap(({ name, placeholders }) =>
      placeholders
        .filter((text) => text !== "")
        .flatMap(placeholderForms)
        .map((bytes) => ({ bytes, name })),
    );
    this.#isIdle = sought.length === 0;
    this.#plain = new Finder(sought);
    this.#decoded = new Finder(sought);
  }

  /** @throws Refusal, with the remedy for one that is on its way to another host than its own */
  see(chunk: Buffer): void {
    if (this.#isIdle) return;
    const name = this.#plain.find(chunk) ?? this.#decoded.find(this.#decoder.decode(chunk));
    if (name !== undefined)
      throw new Refusal(`the placeholder of credential \`${name}\` was on its way where it is not replaced`, {
        remedy: `send it to its own host, whose rule says \`credential: ${name}\``,
      });
  }
}
