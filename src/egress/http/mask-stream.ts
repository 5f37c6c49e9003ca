import { Transform, type TransformCallback } from "node:stream";

/** What stands where a secret was. */
export const MASK = "[masked]";

/** Replaces every secret in text: headers, and words of errors. */
export function masked(text: string, secrets: readonly string[]): string {
  return longestFirst(secrets).reduce((left, secret) => left.replaceAll(secret, MASK), text);
}

/** Replaces every secret in a body, however it is cut. Holds back no more than the longest secret's length. */
export class MaskStream extends Transform {
  readonly #secrets: readonly string[];
  readonly #holdBytesMax: number;
  /** One character per byte. */
  #held = "";

  constructor(secrets: readonly string[]) {
    super();
    this.#secrets = longestFirst(secrets.map((secret) => Buffer.from(secret).toString("latin1")));
    this.#holdBytesMax = Math.max(0, ...this.#secrets.map(({ length }) => length - 1));
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const text = this.#held + chunk.toString("latin1");
    const { out, rest } = this.#replace(text, text.length - this.#holdBytesMax);
    this.#held = rest;
    done(null, Buffer.from(out, "latin1"));
  }

  override _flush(done: TransformCallback): void {
    const { out } = this.#replace(this.#held, this.#held.length);
    done(null, Buffer.from(out, "latin1"));
  }

  /** Replaces what begins before `end`: from there on a secret may not be whole yet. */
  #replace(text: string, end: number): { readonly out: string; readonly rest: string } {
    let out = "";
    let at = 0;
    while (at < end) {
      const next = this.#next(text, at);
      if (next === undefined || next.at >= end) break;
      out += text.slice(at, next.at) + MASK;
      at = next.at + next.length;
    }
    const kept = Math.max(at, end);
    return { out: out + text.slice(at, kept), rest: text.slice(kept) };
  }

  /** The first secret from there on, the longest where several begin at once. */
  #next(text: string, from: number): { readonly at: number; readonly length: number } | undefined {
    let first: { readonly at: number; readonly length: number } | undefined;
    for (const secret of this.#secrets) {
      const at = text.indexOf(secret, from);
      if (at >= 0 && (first === undefined || at < first.at)) first = { at, length: secret.length };
    }
    return first;
  }
}

function longestFirst(secrets: readonly string[]): string[] {
  return secrets.filter((secret) => secret !== "").sort((one, other) => other.length - one.length);
}
