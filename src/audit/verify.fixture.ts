import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { signCheckpoint } from "./checkpoint.ts";
import { EMPTY_ROOT, Frontier, leafHash } from "./merkle.ts";
import { parseVerifierKey } from "./note.ts";

/** What somebody with the disk can do to a state folder. */

export interface RawEntry {
  readonly call: string | null;
  readonly bytes: string;
}

export function openRaw(stateDir: string): DatabaseSync {
  return new DatabaseSync(join(stateDir, "callgate.db"));
}

/** A naive change: rows as they are, hashes left alone. */
export function tamper(stateDir: string, sql: string): void {
  const database = openRaw(stateDir);
  database.exec(sql);
  database.close();
}

export function rawEntries(stateDir: string): readonly RawEntry[] {
  const database = openRaw(stateDir);
  const rows = database.prepare(`SELECT call, bytes FROM entries ORDER BY "index"`).all();
  database.close();
  return rows.map(({ call, bytes }) => ({ call: call === null ? null : String(call), bytes: String(bytes) }));
}

/**
 * A thorough change: other entries, every hash made to fit. With the stolen key the head is signed again as well,
 * so that only an older checkpoint can tell.
 */
export function rewrite(stateDir: string, entries: readonly RawEntry[], stolenKey: boolean): void {
  const database = openRaw(stateDir);
  const frontier = Frontier.read(0, () => EMPTY_ROOT);
  database.exec("BEGIN; DELETE FROM entries");
  const insert = database.prepare(`INSERT INTO entries ("index", hashes, call, bytes) VALUES (?, ?, ?, ?)`);
  for (const [index, { call, bytes }] of entries.entries()) {
    insert.run(index, Buffer.concat(frontier.append(leafHash(bytes))), call, bytes);
  }
  if (stolenKey) {
    const verifier = parseVerifierKey(readFileSync(join(stateDir, "log.pub"), "utf8").trim());
    const key = createPrivateKey(readFileSync(join(stateDir, "log.key")));
    if (verifier === undefined) throw new Error("no key to steal");
    const root = frontier.root();
    const signer = { name: verifier.name, id: verifier.id, key };
    const note = signCheckpoint({ origin: verifier.name, size: frontier.size, root }, signer);
    database.prepare("UPDATE head SET size = ?, root = ?, note = ?").run(frontier.size, root, note);
  }
  database.exec("COMMIT");
  database.close();
}
