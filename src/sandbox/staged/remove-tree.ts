import { chmodSync, closeSync, lstatSync, openSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { FOLDER, failedWith, openBeneath } from "../beneath.ts";

/** Removes `name` in the folder held open as `fd`, and all below it. Follows no link, unlike a recursive rm by path. */
export function removeTree(fd: number, name: string | Buffer): void {
  // As bytes: a name that is not UTF-8 has to be found again as it is.
  const place = Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), Buffer.from(name)]);
  const entry = lstatSync(place, { throwIfNoEntry: false });
  if (entry === undefined) return;
  if (!entry.isDirectory()) {
    unlinkSync(place);
    return;
  }
  const inner = openSync(place, FOLDER);
  try {
    for (const child of childrenOf(inner)) removeTree(inner, child);
  } finally {
    closeSync(inner);
  }
  rmdirSync(place);
}

function childrenOf(fd: number): readonly Buffer[] {
  const place = `/proc/self/fd/${fd}/.`;
  try {
    return readdirSync(place, { encoding: "buffer" });
  } catch (error) {
    if (!failedWith(error, "EACCES")) throw error;
    chmodSync(`/proc/self/fd/${fd}`, 0o700);
    return readdirSync(place, { encoding: "buffer" });
  }
}

/** As `rm -rf`, of what is ours; what is not there is gone already. */
export function removeIn(parent: string, name: string): void {
  try {
    const fd = openBeneath(parent, []);
    try {
      removeTree(fd, name);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!failedWith(error, "ENOENT")) throw error;
  }
}
