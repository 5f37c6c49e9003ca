import { corrupt } from "../store/sqlite-errors.ts";
import type { Store } from "../store/store.ts";
import { HASH_BYTES, type HashReader, keeperOf } from "./merkle.ts";

/** Cuts the hash at `level` out of the hashes kept with one entry. */
export function hashAtLevel(hashes: Uint8Array, level: number): Uint8Array | undefined {
  const end = (level + 1) * HASH_BYTES;
  return end <= hashes.length ? hashes.subarray(end - HASH_BYTES, end) : undefined;
}

/** Reads the tree's hashes from the store. */
export function storedHashes(store: Store, path: string): HashReader {
  return (level, index) => {
    const hashes = store.entries.hashes(keeperOf(level, index));
    const found = hashes && hashAtLevel(hashes, level);
    if (found === undefined) throw corrupt(path, `hash ${index} of level ${level} is missing`);
    return found;
  };
}
