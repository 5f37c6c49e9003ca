import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  consistencyProof,
  EMPTY_ROOT,
  Frontier,
  type HashReader,
  inclusionProof,
  keeperOf,
  leafHash,
  rootAt,
  sameHash,
} from "./merkle.ts";
import {
  rootOfInclusion,
  verifyConsistency,
  verifyInclusion,
  verifySubtreeConsistency,
} from "./merkle-verify.ts";

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const digest = createHash("sha256");
  for (const part of parts) digest.update(part);
  return digest.digest();
};

/** RFC 9162 section 2.1.1, word for word and slow. */
function mth(entries: readonly Uint8Array[]): Uint8Array {
  const [first] = entries;
  if (first === undefined) return sha256();
  if (entries.length === 1) return sha256(Uint8Array.of(0), first);
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  return sha256(Uint8Array.of(1), mth(entries.slice(0, k)), mth(entries.slice(k)));
}

interface Grown {
  readonly frontier: Frontier;
  readonly read: HashReader;
  readonly roots: readonly Uint8Array[];
}

function grow(entries: readonly Uint8Array[]): Grown {
  const frontier = Frontier.read(0, () => EMPTY_ROOT);
  const kept: (readonly Uint8Array[])[] = [];
  const roots = [frontier.root()];
  for (const entry of entries) {
    kept.push(frontier.append(leafHash(entry)));
    roots.push(frontier.root());
  }
  const read: HashReader = (level, index) => {
    const hash = kept[keeperOf(level, index)]?.[level];
    assert.ok(hash, `hash ${index} of level ${level}`);
    return hash;
  };
  return { frontier, read, roots };
}

const entriesOf = (size: number): readonly Uint8Array[] =>
  Array.from({ length: size }, (_, i) => Buffer.from(`e${i}`));

test("the root of every size up to 130 is RFC 9162's", () => {
  const entries = entriesOf(130);
  const { roots, read } = grow(entries);
  for (let size = 0; size <= entries.length; size++) {
    const expected = mth(entries.slice(0, size));
    assert.deepEqual(Buffer.from(roots[size] ?? []), Buffer.from(expected));
    assert.ok(sameHash(rootAt(size, read), expected));
    assert.ok(sameHash(Frontier.read(size, read).root(), expected));
  }
});

test("a leaf hashes the same as text and as bytes", () => {
  assert.ok(sameHash(leafHash("naïve"), leafHash(Buffer.from("naïve"))));
});

test("a leaf is no node: the two are hashed apart", () => {
  const two = grow([Buffer.from("a"), Buffer.from("b")]);
  const joined = Buffer.concat([leafHash("a"), leafHash("b")]);
  assert.ok(!sameHash(two.frontier.root(), leafHash(joined)));
});

test("every leaf of every size is proved, and no proof holds for another leaf, place, size or root", () => {
  const size = fc.integer({ min: 1, max: 300 });
  const places = fc.tuple(size, fc.nat(), fc.nat(), fc.nat());
  const { read, roots } = grow(entriesOf(300));
  fc.assert(
    fc.property(places, ([size, leafSeed, hashSeed, byteSeed]) => {
      const index = leafSeed % size;
      const root = roots[size] ?? EMPTY_ROOT;
      const leaf = read(0, index);
      const proof = inclusionProof(index, size, read);
      assert.ok(verifyInclusion(index, size, leaf, proof, root));
      assert.ok(!verifyInclusion(index, size, leafHash("other"), proof, root));
      assert.ok(!verifyInclusion(index, size, leaf, proof, leafHash("other")));
      assert.ok(!verifyInclusion(index, size, leaf, [...proof, leaf], root));
      if (proof.length === 0) return;
      assert.ok(!verifyInclusion(index, size, leaf, proof.slice(1), root));
      assert.ok(!verifyInclusion(index, size, leaf, proof.slice(0, -1), root));
      const changed = proof.map((hash) => Uint8Array.from(hash));
      const victim = changed[hashSeed % changed.length] ?? new Uint8Array(1);
      victim[byteSeed % victim.length] = (victim[byteSeed % victim.length] ?? 0) ^ 1;
      assert.ok(!verifyInclusion(index, size, leaf, changed, root));
      for (let other = 0; other < size; other++) {
        if (other !== index) assert.ok(!verifyInclusion(other, size, leaf, proof, root));
      }
    }),
    { numRuns: 200 },
  );
});

test("every size is proved to have grown out of every smaller one", () => {
  const { read, roots } = grow(entriesOf(80));
  for (let to = 0; to <= 80; to++) {
    for (let from = 0; from <= to; from++) {
      const proof = consistencyProof(from, to, read);
      const [older = EMPTY_ROOT, newer = EMPTY_ROOT] = [roots[from], roots[to]];
      assert.ok(verifyConsistency(from, to, proof, older, newer), `${from} to ${to}`);
      assert.ok(!verifyConsistency(from, to, proof, leafHash("other"), newer));
      assert.ok(!verifyConsistency(from, to, [...proof, older], older, newer));
      if (from > 0 || to === 0)
        assert.ok(!verifyConsistency(from, to, proof, older, leafHash("other")) || to === 0);
    }
  }
});

test("a forked history has no consistency proof", () => {
  const honest = grow(entriesOf(50));
  const forked = grow(entriesOf(50).map((entry, index) => (index === 7 ? Buffer.from("forged") : entry)));
  for (let from = 8; from < 50; from++) {
    const proof = consistencyProof(from, 50, forked.read);
    const [older = EMPTY_ROOT, newer = EMPTY_ROOT] = [honest.roots[from], forked.roots[50]];
    assert.ok(!verifyConsistency(from, 50, proof, older, newer));
  }
});

test("one tree's proofs share what they compute at its edge", () => {
  const { read, roots } = grow(entriesOf(77));
  const edges = new Map<number, Uint8Array>();
  for (let index = 0; index < 77; index++) {
    const proof = inclusionProof(index, 77, read, edges);
    assert.ok(verifyInclusion(index, 77, read(0, index), proof, roots[77] ?? EMPTY_ROOT));
  }
  assert.ok(edges.size > 0 && edges.size < 7);
});

test("numbers that are no sizes prove nothing", () => {
  const leaf = leafHash("a");
  for (const [index, size] of [
    [-1, 1],
    [1, 1],
    [0.5, 1],
    [Number.NaN, 1],
    [0, 2 ** 60],
    [0, Number.POSITIVE_INFINITY],
  ] as const) {
    assert.equal(rootOfInclusion(index, size, leaf, []), undefined);
  }
  assert.equal(rootOfInclusion(0, 2, leaf, [new Uint8Array(31)]), undefined);
  assert.equal(rootOfInclusion(0, 1, leaf, [leaf]), undefined, "a proof that is too long");
  assert.ok(!verifyConsistency(2, 1, [], leaf, leaf));
  assert.ok(!verifySubtreeConsistency({ start: 2, end: 3 }, 2, [], leaf, leaf), "beyond the tree");
  assert.throws(() => inclusionProof(3, 3, () => leaf), RangeError);
  assert.throws(() => consistencyProof(4, 3, () => leaf), RangeError);
});
