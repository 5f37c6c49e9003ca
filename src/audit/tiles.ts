/** Names and contents of the static files of C2SP `tlog-tiles`. */

/** Hashes of a full tile, and entries of a full bundle. */
export const TILE_WIDTH = 256;
/** Levels of the tree that one tile spans. */
export const TILE_HEIGHT = 8;

/** A tile index as path elements of three digits, all but the last with an `x` before them. */
function indexPath(index: number): string {
  const groups = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  return groups.join("/");
}

/** `tile/<level>/<index>[.p/<width>]`, of hashes or, at level `entries`, of entries. */
export function tilePath(level: number | "entries", index: number, width: number = TILE_WIDTH): string {
  return `tile/${level}/${indexPath(index)}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/** Entries as a bundle: each with its length before it, a big-endian uint16. */
export function formatBundle(entries: readonly string[]): Uint8Array {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const bytes = Buffer.from(entry);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** A bundle's entries, or undefined where the lengths do not come out. */
export function parseBundle(bundle: Buffer): readonly Buffer[] | undefined {
  const entries: Buffer[] = [];
  let at = 0;
  while (at + 2 <= bundle.length) {
    const end = at + 2 + bundle.readUInt16BE(at);
    if (end > bundle.length) return undefined;
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  return at === bundle.length ? entries : undefined;
}

/** How wide each tile of a level is in a tree of `size` entries; empty where the level has none. */
export function* tilesOf(
  size: number,
  level: number,
): Generator<{ readonly index: number; readonly width: number }> {
  const hashes = Math.floor(size / TILE_WIDTH ** level);
  for (let index = 0; index * TILE_WIDTH < hashes; index++) {
    yield { index, width: Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH) };
  }
}
