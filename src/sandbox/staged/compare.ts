import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Change } from "../../contract/changes.ts";
import { GateError } from "../../contract/errors.ts";
import { type Digest, parseDigest } from "../../contract/ids.ts";
import { CHANGED_BYTES_MAX, CHANGES_MAX, ENTRIES_PER_TURN } from "./bounds.ts";
import type { Baseline } from "./copy.ts";
import { isSame, namesIn, type Stamp, stampOf } from "./stamp.ts";

const BLOCK_BYTES = 256 * 1024;
const SET_ID = 0o6000;

/** A tree, its private copy, and what both were when the copy was made. */
export interface StagedTree {
  /** The tree on the host. */
  readonly root: string;
  readonly copy: string;
  readonly baseline: Baseline;
}

/** A change, and where it is. */
export interface Found {
  readonly tree: StagedTree;
  /** Below the root of both. */
  readonly path: string;
  readonly change: Change;
  /** What the copy holds now; unset: nothing. */
  readonly now?: Stamp;
}

export interface ChangeBounds {
  readonly changesMax: number;
  readonly bytesMax: number;
}

/**
 * What the tool did to the copy, parents before children. A file that was written with what it held is not changed.
 * The copy is at rest: nothing of the tool lives any more.
 * @throws GateError `ERR_CHANGES_REFUSED` where it holds what is never applied: a device, pipe or socket, a set-id bit,
 * a name that is not UTF-8, or more than the bounds.
 */
export async function findChanges(
  tree: StagedTree,
  bounds: ChangeBounds = { changesMax: CHANGES_MAX, bytesMax: CHANGED_BYTES_MAX },
): Promise<readonly Found[]> {
  const found: Found[] = [];
  let bytes = 0;
  const add = (path: string, kind: Change["change"], now?: Stamp): void => {
    bytes += now?.kind === "file" ? now.bytes : 0;
    if (found.length >= bounds.changesMax) throw refused(`more than ${bounds.changesMax} paths are changed`);
    if (bytes > bounds.bytesMax) throw refused(`more than ${bounds.bytesMax} bytes are changed`);
    found.push({
      tree,
      path,
      change: describe(tree, path, kind, now),
      ...(now === undefined ? {} : { now }),
    });
  };
  const seen = new Set<string>();
  for (const { path, now } of entriesOf(tree.copy, "")) {
    seen.add(path);
    if (seen.size % ENTRIES_PER_TURN === 0) await nextTurn();
    const before = tree.baseline.get(path);
    if (now.kind === "special" || (before !== undefined && before.copy === undefined))
      throw refused(`\`${tree.root}/${path}\` is a device, a pipe or a socket, or stands where one stood`);
    if (before?.copy === undefined) {
      checkMode(tree, path, now);
      add(path, "added", now);
    } else if (!isSame(before.copy, now) && !isAsBefore(tree, path, before.original, now)) {
      checkMode(tree, path, now);
      add(path, "changed", now);
    }
  }
  const gone = [...tree.baseline].filter(([path, { copy }]) => copy !== undefined && !seen.has(path));
  for (const path of gone.map(([name]) => name).sort()) add(path, "deleted");
  return found;
}

function* entriesOf(copy: string, folder: string): Generator<{ readonly path: string; readonly now: Stamp }> {
  for (const name of namesIn(`${copy}/${folder}`)) {
    const path = folder === "" ? name : `${folder}/${name}`;
    const now = stampOf(`${copy}/${path}`);
    if (now === undefined) continue;
    checkReadable(`${copy}/${path}`, now);
    yield { path, now };
    if (now.kind === "folder") yield* entriesOf(copy, path);
  }
}

/** What its owner cannot read could be looked at only after giving it another mode. */
function checkReadable(place: string, { kind, mode }: Stamp): void {
  const needed = kind === "folder" ? 0o500 : kind === "file" ? 0o400 : 0;
  if ((mode & needed) !== needed) throw refused(`\`${place}\` cannot be read by its owner`);
}

/** Whether another inode or another time hides the same mode and content. */
function isAsBefore({ root, copy }: StagedTree, path: string, original: Stamp, now: Stamp): boolean {
  if (original.kind !== now.kind || (original.mode & ~SET_ID) !== now.mode) return false;
  if (now.kind === "folder") return true;
  if (now.kind === "link") return original.target === now.target;
  if (original.bytes !== now.bytes) return false;
  // Where it is another file by now the change conflicts, and that is found when it is applied.
  return (
    isSame(original, stampOf(`${root}/${path}`)) &&
    digestFile(`${root}/${path}`) === digestFile(`${copy}/${path}`)
  );
}

function describe(
  { root, copy, baseline }: StagedTree,
  path: string,
  change: Change["change"],
  now?: Stamp,
): Change {
  const kind = (now ?? baseline.get(path)?.original)?.kind;
  if (kind === undefined || kind === "special")
    throw refused(`\`${root}/${path}\` is of no kind that is applied`);
  return {
    path: `${root}/${path}`,
    change,
    kind,
    ...(now === undefined || now.kind === "link" ? {} : { mode: now.mode }),
    ...(now?.kind === "file" ? { bytes: now.bytes, digest: digestFile(`${copy}/${path}`) } : {}),
    ...(now?.target === undefined ? {} : { target: now.target }),
  };
}

function checkMode({ root }: StagedTree, path: string, { mode, kind }: Stamp): void {
  if (kind !== "link" && (mode & SET_ID) !== 0) throw refused(`\`${root}/${path}\` has a set-id bit`);
}

/** SHA-256 of a file's content, in pieces. Follows no link in the last place. */
export function digestFile(path: string): Digest {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash("sha256");
    const block = Buffer.alloc(BLOCK_BYTES);
    for (let read = readSync(fd, block); read > 0; read = readSync(fd, block))
      hash.update(block.subarray(0, read));
    return parseDigest(`sha256:${hash.digest("hex")}`);
  } finally {
    closeSync(fd);
  }
}

function refused(why: string): GateError {
  return new GateError("ERR_CHANGES_REFUSED", why);
}
