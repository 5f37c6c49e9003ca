import { hash, randomFillSync } from "node:crypto";
import { sameHash } from "./merkle.ts";

/** Payloads are committed to as SHA-256(salt || payload): without the salt there is nothing to guess. */
export const SALT_BYTES = 32;
const SALTS_DRAWN = 1024;

/** SHA-256(salt || payload). */
export function commit(salt: Uint8Array, payload: Uint8Array): Buffer {
  return hash("sha256", Buffer.concat([salt, payload]), "buffer");
}

/** Whether salt and payload open a commitment, given as its bytes or as an entry's `sha256:…`. */
export function opensCommitment(
  commitment: string | Uint8Array,
  salt: Uint8Array,
  payload: Uint8Array,
): boolean {
  if (salt.length !== SALT_BYTES) return false;
  const computed = commit(salt, payload);
  return typeof commitment === "string"
    ? commitment === `sha256:${computed.toString("hex")}`
    : sameHash(computed, commitment);
}

/** Draws salts many at a time, each used once. */
export class Salts {
  #pool: Buffer = Buffer.alloc(0);

  next(): Buffer {
    if (this.#pool.length === 0) this.#pool = randomFillSync(Buffer.allocUnsafe(SALTS_DRAWN * SALT_BYTES));
    const salt = this.#pool.subarray(0, SALT_BYTES);
    this.#pool = this.#pool.subarray(SALT_BYTES);
    return salt;
  }
}
