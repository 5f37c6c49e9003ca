import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
} from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { GateError } from "../../contract/errors.ts";
import { inFolder, openBeneath } from "../beneath.ts";
import type { HostUser } from "../user.ts";
import { COPIED_BYTES_MAX, COPIED_DEPTH_MAX, COPIED_ENTRIES_MAX, ENTRIES_PER_TURN } from "./bounds.ts";
import { namesIn, type Stamp, stampOf } from "./stamp.ts";

/** What stood in a tree when it was copied, by path below its root. */
export type Baseline = ReadonlyMap<string, Copied>;

export interface Copied {
  readonly original: Stamp;
  /** Unset: a socket, pipe or device, which is not copied. */
  readonly copy?: Stamp;
}

export interface CopyBounds {
  readonly entriesMax: number;
  readonly bytesMax: number;
}

const MODE_KEPT = 0o777;

/**
 * Copies the tree at `source` to `target`, which does not exist, for `user`: contents (sharing blocks where the file
 * system can), modes without set-id bits, times and links as they are. Extended attributes, owners and hard links are
 * not kept. Follows no link, whoever swaps what meanwhile.
 * @throws GateError `ERR_USAGE` where the tree is larger than the bounds, or a file cannot be read.
 */
export async function copyTree(
  source: string,
  target: string,
  user: HostUser,
  bounds: CopyBounds = { entriesMax: COPIED_ENTRIES_MAX, bytesMax: COPIED_BYTES_MAX },
): Promise<Baseline> {
  const job: Job = { source, user, bounds, baseline: new Map(), entries: 0, bytes: 0 };
  const fd = openBeneath(source, []);
  try {
    let entries = 0;
    for (const _ of copyFolder(job, fd, target, "", 0)) {
      entries += 1;
      if (entries % ENTRIES_PER_TURN === 0) await nextTurn();
    }
  } finally {
    closeSync(fd);
  }
  return job.baseline;
}

interface Job {
  readonly source: string;
  readonly user: HostUser;
  readonly bounds: CopyBounds;
  readonly baseline: Map<string, Copied>;
  entries: number;
  bytes: number;
}

function* copyFolder(job: Job, fd: number, target: string, path: string, depth: number): Generator<void> {
  const own = fstatSync(fd);
  mkdirSync(target, 0o700);
  if (depth > COPIED_DEPTH_MAX) throw tooLarge(job, `is nested more than ${COPIED_DEPTH_MAX} folders deep`);
  for (const name of namesIn(inFolder(fd, "."))) {
    yield* copyEntry(job, {
      fd,
      name,
      target: `${target}/${name}`,
      path: path === "" ? name : `${path}/${name}`,
      depth,
    });
  }
  finish(job, target, own.mode, own);
}

interface Entry {
  readonly fd: number;
  readonly name: string;
  readonly target: string;
  readonly path: string;
  readonly depth: number;
}

function* copyEntry(job: Job, { fd, name, target, path, depth }: Entry): Generator<void> {
  const place = inFolder(fd, name);
  const original = stampOf(place);
  if (original === undefined) return; // removed just now
  job.entries += 1;
  if (job.entries > job.bounds.entriesMax)
    throw tooLarge(job, `holds more than ${job.bounds.entriesMax} entries`);
  if (original.kind === "folder") {
    const inner = openBeneath(inFolder(fd, "."), [name]);
    try {
      yield* copyFolder(job, inner, target, path, depth + 1);
    } finally {
      closeSync(inner);
    }
  } else if (original.kind === "link") {
    symlinkSync(original.target ?? "", target);
    finish(job, target, undefined, undefined);
  } else if (original.kind === "file") {
    job.bytes += original.bytes;
    if (job.bytes > job.bounds.bytesMax) throw tooLarge(job, `holds more than ${job.bounds.bytesMax} bytes`);
    copyFile(job, place, target, path);
  }
  const copy = original.kind === "special" ? undefined : stampOf(target);
  job.baseline.set(path, { original, ...(copy === undefined ? {} : { copy }) });
  yield;
}

function copyFile(job: Job, place: string, target: string, path: string): void {
  // Not blocking, should a pipe stand there by now.
  const fd = openReadable(job, place, path);
  try {
    const entry = fstatSync(fd);
    if (!entry.isFile()) throw tooLarge(job, `changes while it is copied, at \`${path}\``);
    copyFileSync(`/proc/self/fd/${fd}`, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    finish(job, target, entry.mode, entry);
  } finally {
    closeSync(fd);
  }
}

function openReadable(job: Job, place: string, path: string): number {
  try {
    return openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : "it cannot be read";
    throw tooLarge(job, `cannot be copied: \`${path}\`: ${why}`);
  }
}

/** Last of all, since each of these changes what the stamp holds. */
function finish(
  { user }: Job,
  target: string,
  mode: number | undefined,
  times: { readonly atimeMs: number; readonly mtimeMs: number } | undefined,
): void {
  if (process.geteuid?.() === 0) lchownSync(target, user.uid, user.gid);
  if (mode !== undefined) chmodSync(target, mode & MODE_KEPT);
  if (times !== undefined) lutimesSync(target, times.atimeMs / 1000, times.mtimeMs / 1000);
}

function tooLarge({ source }: Job, why: string): GateError {
  return new GateError("ERR_USAGE", `\`${source}\` ${why}, so its writes cannot be staged`, {
    remedy: "grant a smaller folder, or let the tool write without `staged`",
  });
}
