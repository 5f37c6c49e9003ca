import type { GateCredential } from "./credentials/credential.ts";
import { Refusal } from "./visit.ts";

/**
 * Looks for what stands for a credential in bytes that no credential is added to, however they are cut.
 * The words name the credential and never hold the placeholder.
 */
export class PlaceholderWatch {
  readonly #sought: readonly { readonly bytes: Buffer; readonly name: string }[];
  readonly #tailBytesMax: number;
  /** The last bytes that were seen: a placeholder may have begun in them. */
  #tail: Buffer = Buffer.alloc(0);

  constructor(credentials: readonly GateCredential[]) {
    this.#sought = credentials.flatMap(({ name, placeholders }) =>
      placeholders.filter((text) => text !== "").map((text) => ({ bytes: Buffer.from(text), name })),
    );
    this.#tailBytesMax = Math.max(0, ...this.#sought.map(({ bytes }) => bytes.length - 1));
  }

  /** @throws Refusal */
  see(chunk: Buffer): void {
    if (this.#sought.length === 0) return;
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, this.#tailBytesMax)]);
    for (const { bytes, name } of this.#sought)
      if (seam.includes(bytes) || chunk.includes(bytes))
        throw new Refusal(
          `the placeholder of credential \`${name}\` was on its way where it is not replaced`,
        );
    const recent = chunk.length < this.#tailBytesMax ? seam : chunk;
    this.#tail = Buffer.from(recent.subarray(Math.max(0, recent.length - this.#tailBytesMax)));
  }
}
