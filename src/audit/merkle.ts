import { hash } from "node:crypto";

/**
 * The Merkle tree of RFC 9162 section 2.1 (the same tree as RFC 6962), as pure functions.
 *
 * A leaf's index says where every inner node lives: the node at `level` covering leaves
 * `[index << level, (index + 1) << level)` is complete the moment its last leaf is appended, so it is kept
 * with that leaf. Appending leaf n therefore writes one row: its hash and the hashes it completes.
 */

/** SHA-256 output, and so the size of every hash here. */
export const HASH_BYTES = 32;

/** Gives the hash of the complete subtree of 2^level leaves that starts at leaf `index * 2^level`. */
export type HashReader = (level: number, index: number) => Uint8Array;

/** RFC 9162 section 2.1.1: the hash of no leaves. */
export const EMPTY_ROOT: Uint8Array = hash("sha256", "", "buffer");

/** RFC 9162 section 2.1.1: SHA-256(0x00 || entry). */
export function leafHash(entry: string | Uint8Array): Uint8Array {
  if (typeof entry === "string") return hash("sha256", `\0${entry}`, "buffer");
  const prefixed = Buffer.allocUnsafe(entry.length + 1);
  prefixed[0] = 0;
  prefixed.set(entry, 1);
  return hash("sha256", prefixed, "buffer");
}

/** RFC 9162 section 2.1.1: SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const prefixed = Buffer.allocUnsafe(1 + 2 * HASH_BYTES);
  prefixed[0] = 1;
  prefixed.set(left, 1);
  prefixed.set(right, 1 + HASH_BYTES);
  return hash("sha256", prefixed, "buffer");
}

/** Whether two hashes are the same. Not constant-time: hashes of a public tree are no secrets. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The largest power of two smaller than `size`, which is at least 2: where RFC 9162 splits a tree. */
function splitPoint(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

/** The leaf with which the node (level, index) is kept: its last one. */
export function keeperOf(level: number, index: number): number {
  return (index + 1) * 2 ** level - 1;
}

/** The right edge of a growing tree: for every complete subtree that has no complete parent, its hash by level. */
export class Frontier {
  #size: number;
  readonly #byLevel: (Uint8Array | undefined)[];

  private constructor(size: number, byLevel: (Uint8Array | undefined)[]) {
    this.#size = size;
    this.#byLevel = byLevel;
  }

  /** The frontier of the first `size` leaves; reads at most one hash for each bit of `size`. */
  static read(size: number, read: HashReader): Frontier {
    const byLevel: (Uint8Array | undefined)[] = [];
    for (let level = 0, rest = size; rest > 0; level++, rest = Math.floor(rest / 2)) {
      byLevel.push(rest % 2 === 1 ? read(level, rest - 1) : undefined);
    }
    return new Frontier(size, byLevel);
  }

  get size(): number {
    return this.#size;
  }

  /** The hash at `level`, where the frontier has one. */
  at(level: number): Uint8Array | undefined {
    return this.#byLevel[level];
  }

  copy(): Frontier {
    return new Frontier(this.#size, [...this.#byLevel]);
  }

  /** Adds a leaf and gives every hash that is now complete: the leaf's own, then its parents' by level. */
  append(leaf: Uint8Array): readonly Uint8Array[] {
    const completed = [leaf];
    let hash = leaf;
    let level = 0;
    for (; ; level++) {
      const left = this.#byLevel[level];
      if (left === undefined) break;
      hash = nodeHash(left, hash);
      completed.push(hash);
      this.#byLevel[level] = undefined;
    }
    this.#byLevel[level] = hash;
    this.#size++;
    return completed;
  }

  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (const hash of this.#byLevel) {
      if (hash === undefined) continue;
      root = root === undefined ? hash : nodeHash(hash, root);
    }
    return root ?? EMPTY_ROOT;
  }
}

/** Hashes of incomplete subtrees, which all end where the tree ends, by where they start. For one tree size. */
export type EdgeHashes = Map<number, Uint8Array>;

/** MTH(D[start:end]) for a range that RFC 9162's splitting reaches: complete, or ending where the tree does. */
function rangeHash(start: number, end: number, read: HashReader, edges: EdgeHashes): Uint8Array {
  const width = end - start;
  const level = Math.log2(width);
  if (Number.isInteger(level)) return read(level, start / width);
  const known = edges.get(start);
  if (known !== undefined) return known;
  const split = start + splitPoint(width);
  const hash = nodeHash(rangeHash(start, split, read, edges), rangeHash(split, end, read, edges));
  edges.set(start, hash);
  return hash;
}

/** The root of the first `size` leaves. */
export function rootAt(size: number, read: HashReader): Uint8Array {
  return size === 0 ? EMPTY_ROOT : rangeHash(0, size, read, new Map());
}

/**
 * RFC 9162 section 2.1.3.1: the audit path of leaf `index` in the tree of `size` leaves, lowest first. Several
 * proofs of one tree share `edges`.
 */
export function inclusionProof(
  index: number,
  size: number,
  read: HashReader,
  edges: EdgeHashes = new Map(),
): readonly Uint8Array[] {
  if (!(index >= 0 && index < size)) throw new RangeError("leaf index outside the tree");
  const path: Uint8Array[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const split = start + splitPoint(end - start);
    if (index < split) {
      path.push(rangeHash(split, end, read, edges));
      end = split;
    } else {
      path.push(rangeHash(start, split, read, edges));
      start = split;
    }
  }
  return path.reverse();
}

/** RFC 9162 section 2.1.4.1: PROOF(from, D[to]). Empty where `from` is 0 or equals `to`. */
export function consistencyProof(from: number, to: number, read: HashReader): readonly Uint8Array[] {
  if (!(from >= 0 && from <= to)) throw new RangeError("the older tree is larger than the newer");
  if (from === 0 || from === to) return [];
  const path: Uint8Array[] = [];
  const edges: EdgeHashes = new Map();
  let start = 0;
  let end = to;
  while (end !== from) {
    const split = start + splitPoint(end - start);
    if (from <= split) {
      path.push(rangeHash(split, end, read, edges));
      end = split;
    } else {
      path.push(rangeHash(start, split, read, edges));
      start = split;
    }
  }
  // The verifier knows the older root itself, so the node it equals is left out (section 2.1.4.1, b = true).
  if (start !== 0) path.push(rangeHash(start, end, read, edges));
  return path.reverse();
}
