import { EMPTY_ROOT, HASH_BYTES, nodeHash, sameHash } from "./merkle.ts";

/** Checking proofs, with nothing but the proof. Sizes may exceed 2^32, so halving replaces bit operations. */

const half = (value: number): number => Math.floor(value / 2);
const odd = (value: number): boolean => value % 2 === 1;

function plausible(numbers: readonly number[], hashes: readonly Uint8Array[]): boolean {
  return (
    numbers.every((value) => Number.isSafeInteger(value) && value >= 0) &&
    hashes.every((hash) => hash.length === HASH_BYTES)
  );
}

/** RFC 9162 section 2.1.3.2: the root that `proof` gives for a leaf, or undefined where it cannot be a proof. */
export function rootOfInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!plausible([index, size], [leaf, ...proof]) || index >= size) return undefined;
  let fn = index;
  let sn = size - 1;
  let root = leaf;
  for (const sibling of proof) {
    if (sn === 0) return undefined;
    if (odd(fn) || fn === sn) {
      root = nodeHash(sibling, root);
      while (!odd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      root = nodeHash(root, sibling);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 ? root : undefined;
}

/** Whether `proof` shows that the leaf is the one at `index` of the tree with that size and root. */
export function verifyInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  const computed = rootOfInclusion(index, size, leaf, proof);
  return computed !== undefined && sameHash(computed, root);
}

/**
 * A range of leaves that is a subtree: `start` is a multiple of the width rounded up to a power of two
 * (draft-ietf-plants-merkle-tree-certs, section 4).
 */
export function isSubtree(start: number, end: number): boolean {
  if (start >= end) return false;
  let width = 1;
  while (width < end - start) width *= 2;
  return start % width === 0;
}

/** Whether the subtree `[start, end)` with root `part` is a part of the tree with that size and root (same draft). */
export function verifySubtreeConsistency(
  range: { readonly start: number; readonly end: number },
  size: number,
  proof: readonly Uint8Array[],
  part: Uint8Array,
  root: Uint8Array,
): boolean {
  const { start, end } = range;
  if (!plausible([start, end, size], [part, root, ...proof])) return false;
  if (!isSubtree(start, end) || end > size) return false;
  let fn = start;
  let sn = end - 1;
  let tn = size - 1;
  const shift = (): void => {
    fn = half(fn);
    sn = half(sn);
    tn = half(tn);
  };
  while (fn !== sn && (sn === tn || odd(sn))) shift();
  const rest = [...proof];
  // A complete subtree is itself the first node; otherwise the proof opens with the one the two trees share.
  const first = fn === sn ? part : rest.shift();
  if (first === undefined) return false;
  let older = first;
  let newer = first;
  for (const sibling of rest) {
    if (tn === 0) return false;
    if (odd(sn) || sn === tn) {
      if (fn < sn) older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (!odd(sn)) shift();
    } else {
      newer = nodeHash(newer, sibling);
    }
    shift();
  }
  return tn === 0 && sameHash(older, part) && sameHash(newer, root);
}

/** RFC 9162 section 2.1.4.2; from nothing, an empty proof is one (as C2SP `tlog-witness` has it). */
export function verifyConsistency(
  from: number,
  to: number,
  proof: readonly Uint8Array[],
  fromRoot: Uint8Array,
  toRoot: Uint8Array,
): boolean {
  if (from !== 0) return verifySubtreeConsistency({ start: 0, end: from }, to, proof, fromRoot, toRoot);
  return plausible([to], [toRoot]) && proof.length === 0 && sameHash(fromRoot, EMPTY_ROOT);
}
