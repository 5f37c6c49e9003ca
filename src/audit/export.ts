import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { GateError } from "../contract/errors.ts";
import { openSqliteStoreReadOnly } from "../store/sqlite.ts";
import { corrupt } from "../store/sqlite-errors.ts";
import { STATE_FILES, statePath, unwritable } from "../store/state-dir.ts";
import type { Store } from "../store/store.ts";
import { storedHashes } from "./reader.ts";
import { formatBundle, TILE_HEIGHT, TILE_WIDTH, tilePath, tilesOf } from "./tiles.ts";

export interface ExportedLog {
  readonly size: number;
  readonly checkpoint: string;
  readonly verifierKey: string;
}

function write(path: string, bytes: Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes, { flag: "wx", mode: 0o644 });
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function isEmpty(dir: string): boolean {
  try {
    return readdirSync(dir).length === 0;
  } catch {
    return true;
  }
}

function exportFrom(store: Store, path: string, targetDir: string): ExportedLog {
  const head = store.head.get();
  const verifierKey = store.meta.get("verifierKey");
  if (head === undefined || verifierKey === undefined) throw corrupt(path, "the tree head is missing");
  const read = storedHashes(store, path);
  for (let level = 0; TILE_WIDTH ** level <= head.size; level++) {
    for (const { index, width } of tilesOf(head.size, level)) {
      const hashes = Array.from({ length: width }, (_, at) =>
        read(level * TILE_HEIGHT, index * TILE_WIDTH + at),
      );
      write(join(targetDir, tilePath(level, index, width)), Buffer.concat(hashes));
    }
  }
  for (const { index, width } of tilesOf(head.size, 0)) {
    const entries = store.entries.list(index * TILE_WIDTH, width).map(({ bytes }) => bytes);
    write(join(targetDir, tilePath("entries", index, width)), formatBundle(entries));
  }
  write(join(targetDir, STATE_FILES.publicKey), Buffer.from(`${verifierKey}\n`));
  // Last: an export that was cut short has no checkpoint and so claims nothing.
  write(join(targetDir, STATE_FILES.checkpoint), Buffer.from(head.note));
  return { size: head.size, checkpoint: head.note, verifierKey };
}

/**
 * Writes the log as static files that any C2SP `tlog-tiles` client reads, and `verifyLog` too. Entries only commit
 * to payloads, which are not among them. The key in `log.pub` is for convenience: whoever verifies has it from
 * elsewhere.
 * @throws GateError `ERR_USAGE` where the target is not empty, `ERR_STATE_…`
 */
export function exportLog(stateDir: string, targetDir: string): ExportedLog {
  if (!isEmpty(targetDir)) {
    throw new GateError("ERR_USAGE", `\`${targetDir}\` is not empty`, { remedy: "name a new folder" });
  }
  const path = statePath(stateDir, "database");
  using store = openSqliteStoreReadOnly(path);
  return store.snapshot(() => exportFrom(store, path, targetDir));
}
