import { Transform, type TransformCallback } from "node:stream";
import { type Masker, StreamMasker } from "../../contract/mask.ts";

/** Replaces every secret in a body, in the forms in which they travel and however it is cut. */
export class MaskStream extends Transform {
  readonly #masker: StreamMasker;

  constructor(masker: Masker) {
    super();
    this.#masker = new StreamMasker(() => masker);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    done(null, this.#masker.push(chunk));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#masker.end());
  }
}
