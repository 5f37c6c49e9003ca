import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../contract/errors.ts";
import { openSqliteStoreReadOnly } from "../store/sqlite.ts";
import { errnoOf, readIfThere, STATE_FILES, statePath } from "../store/state-dir.ts";
import type { Store, StoredPayload } from "../store/store.ts";
import { HASH_BYTES } from "./merkle.ts";
import { hashAtLevel } from "./reader.ts";
import { parseBundle, TILE_HEIGHT, TILE_WIDTH, tilePath, tilesOf } from "./tiles.ts";

/** One entry as it is found, and the hashes that were kept of it: by level, where there is one. */
export interface FoundEntry {
  readonly index: number;
  readonly bytes: string;
  readonly kept: (level: number) => Uint8Array | undefined;
}

/** Where a log is verified from. Reads as it goes: memory does not grow with the log. */
export interface LogSource {
  /** The newest signed note. */
  readonly note: string | undefined;
  /** An older one that lies beside it. */
  readonly olderNote: string | undefined;
  /** At which levels of the tree hashes were kept. */
  readonly keptEvery: number;
  /** Up to `size` entries at least, and those beyond where there are any. */
  entries(size: number): Iterable<FoundEntry>;
  /** In the order of their entries; null where this source has none to show. */
  readonly payloads: (() => IterableIterator<StoredPayload>) | null;
}

/** A state folder, read in one unmoving state. Its own checkpoint file counts as an older one. */
class StateSource implements LogSource {
  readonly keptEvery = 1;
  readonly note: string | undefined;
  readonly olderNote: string | undefined;
  readonly payloads: () => IterableIterator<StoredPayload>;
  readonly #store: Store;

  constructor(store: Store, olderNote: string | undefined) {
    this.#store = store;
    this.olderNote = olderNote;
    this.note = store.head.get()?.note;
    this.payloads = () => store.payloads.stream();
  }

  *entries(): Generator<FoundEntry> {
    for (const { index, bytes, hashes } of this.#store.entries.stream()) {
      yield { index, bytes, kept: (level) => hashAtLevel(hashes, level) };
    }
  }
}

/** An export in the layout of C2SP `tlog-tiles`. */
class TileSource implements LogSource {
  readonly keptEvery = TILE_HEIGHT;
  readonly note: string | undefined;
  readonly olderNote = undefined;
  readonly payloads = null;
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    this.note = readIfThere(join(dir, STATE_FILES.checkpoint));
  }

  *entries(size: number): Generator<FoundEntry> {
    const tile = this.#tiles(size);
    for (const { index: bundle, width } of tilesOf(size, 0)) {
      const path = tilePath("entries", bundle, width);
      const bytes = this.#read(path);
      const entries = bytes && parseBundle(bytes);
      if (entries === undefined || entries.length !== width) {
        throw new GateError(
          "ERR_LOG_INVALID",
          `\`${path}\` is missing or is not a bundle of ${width} entries`,
        );
      }
      for (const [at, entry] of entries.entries()) {
        const index = bundle * TILE_WIDTH + at;
        yield {
          index,
          bytes: entry.toString("utf8"),
          kept: (level) => tile(level / TILE_HEIGHT, (index + 1) / 2 ** level - 1),
        };
      }
    }
  }

  #read(path: string): Buffer | undefined {
    try {
      return readFileSync(join(this.#dir, path));
    } catch (fault) {
      if (errnoOf(fault) === "ENOENT") return undefined;
      throw fault;
    }
  }

  /** A hash of a tile, with the newest tile of each level held open. */
  #tiles(size: number): (level: number, hash: number) => Uint8Array | undefined {
    const open = new Map<number, { readonly index: number; readonly bytes: Buffer | undefined }>();
    return (level, hash) => {
      const index = Math.floor(hash / TILE_WIDTH);
      let tile = open.get(level);
      if (tile?.index !== index) {
        const hashes = Math.floor(size / TILE_WIDTH ** level);
        const width = Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH);
        const bytes = this.#read(tilePath(level, index, width));
        tile = { index, bytes: bytes?.length === width * HASH_BYTES ? bytes : undefined };
        open.set(level, tile);
      }
      return tile.bytes && hashAtLevel(tile.bytes, hash % TILE_WIDTH);
    };
  }
}

/**
 * Runs `work` on the log in a folder.
 * @throws GateError `ERR_NOT_FOUND` where it holds none, `ERR_STATE_…` where it cannot be read
 */
export function withSource<T>(dir: string, work: (source: LogSource) => T): T {
  const database = statePath(dir, "database");
  if (existsSync(database)) {
    // Before the database: the file is never newer than what is read after it.
    const olderNote = readIfThere(statePath(dir, "checkpoint"));
    using store = openSqliteStoreReadOnly(database);
    return store.snapshot(() => work(new StateSource(store, olderNote)));
  }
  if (existsSync(join(dir, STATE_FILES.checkpoint))) return work(new TileSource(dir));
  throw new GateError("ERR_NOT_FOUND", `\`${dir}\` holds no log`, {
    remedy: "name a state folder, or one that `callgate log export` wrote",
  });
}
