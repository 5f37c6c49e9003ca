import { chmodSync, closeSync, linkSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { GateError } from "../../contract/errors.ts";
import { failedWith, inFolder, openBeneath, withFolder } from "../beneath.ts";
import { type Journal, type JournalUnit, newName, oldName, writeJournal } from "./journal.ts";
import { putCopy } from "./put.ts";
import { removeTree } from "./remove-tree.ts";
import { isSame, namesIn, stampOf } from "./stamp.ts";
import type { Unit } from "./units.ts";

/**
 * Makes every change in the tree, or none: each is made ready beside its place, then all places are looked at, then
 * all are swapped. What was there is kept until `finishChanges`, so that `undoChanges` gives back the very same files.
 * @returns the journal, which lies at `path` too and says to a later gateway what to undo or to finish.
 * @throws GateError `ERR_CHANGES_CONFLICT` where the tree is not as it was copied; other errors are the file system's.
 * The tree is as it was before then.
 */
export async function applyChanges(units: readonly Unit[], id: string, path: string): Promise<Journal> {
  const preparing: Journal = { id, phase: "preparing", units: units.map(journalUnit) };
  writeJournal(path, preparing);
  try {
    for (const unit of units) verify(unit);
    const inodes: (string | undefined)[] = [];
    for (const [index, unit] of units.entries()) {
      inodes.push(unit.puts ? prepare(preparing, unit, index) : undefined);
      await nextTurn();
    }
    const journal: Journal = {
      ...preparing,
      phase: "swapping",
      units: preparing.units.map((unit, index) => withInode(unit, inodes[index])),
    };
    writeJournal(path, journal);
    try {
      // From here on nothing else of this process comes between.
      for (const unit of units) verify(unit);
      for (const [index, unit] of journal.units.entries()) swap(journal, unit, index);
      // Whoever wrote between the last look and the swap wrote to what was taken.
      for (const [index, unit] of units.entries()) verifyTaken(journal, unit, index);
      return journal;
    } catch (error) {
      undoChanges(journal);
      throw error;
    }
  } catch (error) {
    undoChanges(preparing);
    throw error;
  }
}

/** Gives back what was there. What somebody else has put into a place meanwhile is left, and so is its backup. */
export function undoChanges(journal: Journal): void {
  for (const [index, unit] of [...journal.units.entries()].reverse()) {
    inParent(unit, (fd) => {
      if (journal.phase === "swapping") undoSwap(journal, unit, index, fd);
      removeTree(fd, newName(journal, index));
    });
  }
}

/** Takes away what was there before. */
export function finishChanges(journal: Journal): void {
  for (const [index, unit] of journal.units.entries()) {
    inParent(unit, (fd) => {
      removeTree(fd, oldName(journal, index));
      removeTree(fd, newName(journal, index));
    });
  }
}

function journalUnit({ tree, path, puts, takes, mode }: Unit): JournalUnit {
  const steps = path.split("/");
  const name = steps.pop() ?? "";
  const before = tree.baseline.get(path)?.original.mode ?? 0;
  return {
    root: tree.root,
    steps,
    name,
    puts,
    takes,
    ...(mode === undefined ? {} : { modes: [before, mode] }),
  };
}

function withInode(unit: JournalUnit, inode: string | undefined): JournalUnit {
  return inode === undefined ? unit : { ...unit, inode };
}

function inParent(unit: JournalUnit, work: (fd: number) => void): void {
  try {
    withFolder(unit.root, unit.steps, work);
  } catch (error) {
    // The folder itself went, or was put aside by a swap that is undone later.
    if (!failedWith(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
  }
}

/** The places in the tree are what they were when it was copied, and nothing was added below what goes. */
function verify({ tree, path, expects, mode }: Unit): void {
  const fd = parentOf(tree.root, path);
  closeSync(fd);
  for (const expected of expects) {
    const place = `${tree.root}/${expected}`;
    const before = tree.baseline.get(expected)?.original;
    if (before?.kind === "special" && expected !== path)
      throw conflict(place, "is a device, a pipe or a socket, below a folder that was removed");
    const now = stampBeneath(tree.root, expected);
    if (!isSame(before, now)) throw conflict(place, "has changed since the tool's copy was made");
    if (before?.kind !== "folder" || mode !== undefined) continue;
    for (const name of namesBeneath(tree.root, expected)) {
      if (!tree.baseline.has(`${expected}/${name}`)) throw conflict(`${place}/${name}`, "is new since then");
    }
  }
}

/** As `verify`, of what lies aside by now: a rename changes the time of change of what is renamed, and no more. */
function verifyTaken(journal: Journal, { tree, path, takes, expects }: Unit, index: number): void {
  if (!takes) return;
  const aside = join(dirname(path), oldName(journal, index));
  for (const expected of expects) {
    const before = tree.baseline.get(expected)?.original;
    const at = `${aside}${expected.slice(path.length)}`;
    const now = stampBeneath(tree.root, at);
    const same =
      now !== undefined && before !== undefined && isSame(before, { ...now, ctimeNs: before.ctimeNs });
    if (!same) throw conflict(`${tree.root}/${expected}`, "was written to while the changes were made");
    if (now.kind !== "folder") continue;
    for (const name of namesBeneath(tree.root, at)) {
      if (!tree.baseline.has(`${expected}/${name}`))
        throw conflict(`${tree.root}/${expected}/${name}`, "is new");
    }
  }
}

function parentOf(root: string, path: string): number {
  const folder = dirname(path);
  try {
    return openBeneath(root, folder === "." ? [] : folder.split("/"));
  } catch (error) {
    if (failedWith(error, "ENOENT", "ENOTDIR", "ELOOP"))
      throw conflict(`${root}/${folder}`, "is no longer the folder that it was");
    throw error;
  }
}

function stampBeneath(root: string, path: string): ReturnType<typeof stampOf> {
  const fd = parentOf(root, path);
  try {
    return stampOf(inFolder(fd, path.split("/").at(-1) ?? ""));
  } finally {
    closeSync(fd);
  }
}

function namesBeneath(root: string, path: string): readonly string[] {
  return withFolder(root, path.split("/"), (fd) => namesIn(inFolder(fd, ".")));
}

function prepare(journal: Journal, unit: Unit, index: number): string {
  const fd = parentOf(unit.tree.root, unit.path);
  try {
    const name = newName(journal, index);
    putCopy(`${unit.tree.copy}/${unit.path}`, fd, name, unit.path.split("/").at(-1));
    return stampOf(inFolder(fd, name))?.inode ?? "";
  } finally {
    closeSync(fd);
  }
}

function swap(journal: Journal, unit: JournalUnit, index: number): void {
  withFolder(unit.root, unit.steps, (fd) => {
    const place = inFolder(fd, unit.name);
    if (unit.modes !== undefined) {
      setMode(fd, unit.name, unit.modes[1]);
      return;
    }
    if (unit.takes) keepOld(place, inFolder(fd, oldName(journal, index)), unit.puts);
    if (!unit.puts) return;
    // rename(2) would replace what somebody has put there since: the last look, as near to the act as there is.
    if (!unit.takes && stampOf(place) !== undefined) throw conflict(place, "has appeared");
    renameSync(inFolder(fd, newName(journal, index)), place);
  });
}

/** A second name for a file that is replaced, so that its place is never empty; a folder has to be moved. */
function keepOld(place: string, old: string, replaced: boolean): void {
  if (replaced && stampOf(place)?.kind !== "folder") {
    try {
      linkSync(place, old);
      return;
    } catch (error) {
      // Linking another user's file may be forbidden, and not every file system has links.
      if (!failedWith(error, "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP")) throw error;
    }
  }
  renameSync(place, old);
}

function undoSwap(journal: Journal, unit: JournalUnit, index: number, fd: number): void {
  if (unit.modes !== undefined) {
    setMode(fd, unit.name, unit.modes[0]);
    return;
  }
  const place = inFolder(fd, unit.name);
  const isOurs = unit.inode !== undefined && stampOf(place)?.inode === unit.inode;
  if (isOurs) renameSync(place, inFolder(fd, newName(journal, index)));
  const old = inFolder(fd, oldName(journal, index));
  const kept = stampOf(old);
  if (kept === undefined) return;
  const there = stampOf(place);
  if (there === undefined) renameSync(old, place);
  // Only its second name was made: rename(2) of two names of one file does nothing.
  else if (there.inode === kept.inode) removeTree(fd, oldName(journal, index));
}

function setMode(fd: number, name: string, mode: number): void {
  const folder = openBeneath(inFolder(fd, "."), [name]);
  try {
    chmodSync(`/proc/self/fd/${folder}`, mode);
  } finally {
    closeSync(folder);
  }
}

function conflict(place: string, why: string): GateError {
  return new GateError("ERR_CHANGES_CONFLICT", `\`${place}\` ${why}`);
}
