import { closeSync, constants, openSync } from "node:fs";
import { isAbsolute, relative, sep } from "node:path";

/** open(2): a place to go on from, which needs search permission only. Node has no name for it. */
const O_PATH = 0o10000000;
/** Flags to hold a folder open as a place to go on from, and nothing else. */
export const FOLDER: number = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** The names on the way from `root` down to `path`; empty where they are the same. Both absolute. */
export function stepsBetween(root: string, path: string): readonly string[] {
  const steps = relative(root, path);
  if (steps === "") return [];
  if (isAbsolute(steps) || steps.split(sep)[0] === "..") throw new RangeError(`${path} is not below ${root}`);
  return steps.split(sep);
}

/**
 * What openat(2) is for, with the means Node has: a name inside of a folder that is held open, reached through
 * `/proc/self/fd`. Whoever swaps a folder on the way for a link meanwhile changes nothing for the holder.
 */
export function inFolder(fd: number, name: string): string {
  return `/proc/self/fd/${fd}/${name}`;
}

/**
 * Opens the folder that `steps` lead to, following no link on the way. The caller closes the descriptor.
 * @throws the kernel's ENOENT, ENOTDIR or ELOOP where a step is absent, no folder, or a link.
 */
export function openBeneath(root: string, steps: readonly string[]): number {
  let fd = openSync(root, FOLDER);
  for (const step of steps) {
    try {
      const next = openSync(inFolder(fd, step), FOLDER);
      closeSync(fd);
      fd = next;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
  return fd;
}

/** As `openBeneath`, closed when `work` is done. */
export function withFolder<T>(root: string, steps: readonly string[], work: (fd: number) => T): T {
  const fd = openBeneath(root, steps);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether a file system call failed for one of these reasons. */
export function failedWith(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
