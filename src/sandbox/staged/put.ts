import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  futimesSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
} from "node:fs";
import { failedWith, inFolder, openBeneath } from "../beneath.ts";
import { namesIn, stampOf } from "./stamp.ts";

const MODE_KEPT = 0o777;

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Copies `source`, of a private copy at rest, to `name` in the folder held open as `fd`: on the disk when it returns.
 * Owned by whoever owns `replaced` there, or else the folder; without set-id bits.
 */
export function putCopy(source: string, fd: number, name: string, replaced: string | undefined): void {
  const folder = lstatSync(inFolder(fd, "."));
  const before =
    replaced === undefined ? undefined : lstatSync(inFolder(fd, replaced), { throwIfNoEntry: false });
  put(source, fd, name, before ?? folder);
}

function put(source: string, fd: number, name: string, owner: Owner): void {
  const entry = stampOf(source);
  const place = inFolder(fd, name);
  if (entry?.kind === "link") {
    symlinkSync(entry.target ?? "", place);
    if (isRoot()) lchownSync(place, owner.uid, owner.gid);
  } else if (entry?.kind === "folder") {
    mkdirSync(place, 0o700);
    const inner = openBeneath(inFolder(fd, "."), [name]);
    try {
      for (const child of namesIn(source)) put(`${source}/${child}`, inner, child, owner);
    } finally {
      closeSync(inner);
    }
    finish(place, constants.O_DIRECTORY, source, owner);
  } else {
    copyFileSync(source, place, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    finish(place, 0, source, owner);
  }
}

/** Through a descriptor of what was just made, so that whoever swaps it for a link has changed nothing. */
function finish(place: string, flags: number, source: string, owner: Owner): void {
  const { mode, atimeMs, mtimeMs } = lstatSync(source);
  const fd = openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW | flags);
  try {
    if (isRoot()) fchownSync(fd, owner.uid, owner.gid);
    fchmodSync(fd, mode & MODE_KEPT);
    futimesSync(fd, atimeMs / 1000, mtimeMs / 1000);
    fsyncSync(fd);
  } catch (error) {
    // Some file systems cannot flush a folder.
    if (!failedWith(error, "EINVAL")) throw error;
  } finally {
    closeSync(fd);
  }
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}
