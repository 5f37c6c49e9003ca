import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { failedWith } from "../beneath.ts";

/** One swap, as whoever finds the journal must be able to undo or to finish it. */
export interface JournalUnit {
  readonly root: string;
  /** The folder that holds it, below the root. */
  readonly steps: readonly string[];
  readonly name: string;
  readonly puts: boolean;
  readonly takes: boolean;
  /** A folder's mode before and after; nothing else is done to it then. */
  readonly modes?: readonly [number, number];
  /** Of what was made ready to be put there; known once all of it is. */
  readonly inode?: string;
}

/** `preparing`: nothing in the tree has been touched. `swapping`: any part of it may have been. */
export interface Journal {
  readonly id: string;
  readonly phase: "preparing" | "swapping";
  readonly units: readonly JournalUnit[];
}

/** What is put and what was taken lie beside the place itself, so that each swap is a rename in one folder. */
export function newName({ id }: Journal, index: number): string {
  return `.callgate-${id}-${index}.new`;
}

export function oldName({ id }: Journal, index: number): string {
  return `.callgate-${id}-${index}.old`;
}

/** On the disk when it returns. */
export function writeJournal(path: string, journal: Journal): void {
  const draft = `${path}.draft`;
  writeFileSync(draft, JSON.stringify(journal), { mode: 0o600 });
  sync(draft);
  renameSync(draft, path);
  sync(path.slice(0, path.lastIndexOf("/")));
}

/** @returns undefined where none was written: nothing in the tree has been touched. */
export function readJournal(path: string): Journal | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Journal;
  } catch (error) {
    if (failedWith(error, "ENOENT")) return undefined;
    throw error;
  }
}

export function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
