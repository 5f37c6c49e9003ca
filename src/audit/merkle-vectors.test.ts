import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { vectors } from "./log.fixture.ts";
import { isSubtree, verifyConsistency, verifyInclusion, verifySubtreeConsistency } from "./merkle-verify.ts";

/** Vectors of transparency-dev/merkle, read where they lie; see `../../../shared/vectors/README.md`. */

interface Vector {
  readonly desc: string;
  readonly wantErr: boolean;
  readonly proof: readonly string[] | null;
  readonly [member: string]: unknown;
}

const hash = (value: unknown): Uint8Array => Buffer.from(typeof value === "string" ? value : "", "base64");
const number = (value: unknown): number => (value === undefined ? 0 : Number(value));

const CHECKS: Readonly<Record<string, (vector: Vector, proof: readonly Uint8Array[]) => boolean>> = {
  inclusion: (v, proof) =>
    verifyInclusion(number(v["leafIdx"]), number(v["treeSize"]), hash(v["leafHash"]), proof, hash(v["root"])),
  consistency: (v, proof) =>
    verifyConsistency(number(v["size1"]), number(v["size2"]), proof, hash(v["root1"]), hash(v["root2"])),
  subtreeinclusion: (v, proof) => {
    // In a subtree a leaf is proved as in a tree of that width.
    const [start, end] = [number(v["start"]), number(v["end"])];
    const index = number(v["leafIdx"]) - start;
    return (
      isSubtree(start, end) &&
      verifyInclusion(index, end - start, hash(v["leafHash"]), proof, hash(v["root"]))
    );
  },
  subtreeconsistency: (v, proof) => {
    const range = { start: number(v["start"]), end: number(v["end"]) };
    return verifySubtreeConsistency(range, number(v["size"]), proof, hash(v["root1"]), hash(v["root2"]));
  },
};

/** Accepted by the code the vectors come from, refused here. */
const REFUSED_HERE: readonly RegExp[] = [
  // A root of twelve bytes: no SHA-256, so nothing is proved about a tree.
  /^(?:subtree)?consistency\/additional\/sizes-are-equal-one-and-proof-is-empty\.json$/,
  // A range of no leaves, which is no subtree here and was never asked for.
  /^subtreeconsistency\/additional\/subtree-is-empty-.*subtree-root-valid-.*proof-is-empty\.json$/,
];

for (const [folder, check] of Object.entries(CHECKS)) {
  test(`outside vectors: ${folder}`, (t) => {
    const dir = join(vectors("merkle"), folder);
    if (!existsSync(dir)) return t.skip(`SKIPPED: no outside vectors at ${dir}`);
    const files = globSync("**/*.json", { cwd: dir });
    assert.ok(files.length > 90, `only ${files.length} vectors`);
    for (const file of files) {
      const vector: Vector = JSON.parse(readFileSync(join(dir, file), "utf8"));
      const accepted = check(vector, (vector.proof ?? []).map(hash));
      const refused = vector.wantErr || REFUSED_HERE.some((name) => name.test(`${folder}/${file}`));
      assert.equal(accepted, !refused, `${folder}/${file}: ${vector.desc}`);
    }
  });
}
