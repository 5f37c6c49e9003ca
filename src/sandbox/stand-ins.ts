import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname } from "node:path";
import { GateError } from "../contract/errors.ts";
import { failedWith, inFolder, stepsBetween, withFolder } from "./beneath.ts";
import { isHarmlessCommondir, joinCommondir, leaveCommondir } from "./commondir.ts";
import { deadNotes, writeNote } from "./owner-note.ts";
import { COMMONDIR_HOLDERS } from "./protected-names.ts";

/**
 * A mount needs something to lie on, so a protected path that is absent gets an empty folder for as long as a sandbox
 * needs it. Every holder has a folder of its own in it, and rmdir(2) refuses a folder that is not empty: so the kernel
 * counts the holders, those of other gateways too, and the last to leave takes it away. git does not see folders
 * without files, and inside of the sandbox an empty read-only folder lies over it. It is known by its mode.
 */
const STAND_IN_MODE = 0o1700;
const MODE_BITS = 0o1777;
/** What a stand-in becomes that somebody on the host has put a file into meanwhile. */
const ORDINARY_MODE = 0o755;
const HOLDER = /^\.callgate-[0-9a-f]{16}(?:-closing)?$/;
/** How long another process may be about to take a stand-in away before that is taken for a fault. */
const JOIN_MS_MAX = 3_000;
const PAUSE_MS = 1;

interface Held {
  readonly paths: readonly string[];
  readonly holder: string;
}

/** The stand-ins of one sandbox. */
export interface StandIns {
  /** Folders that an empty one is to be laid over. */
  readonly folders: ReadonlySet<string>;
  /** Once nothing of the sandbox lives any more: a mount ends with what it lies on. */
  release(): void;
}

/**
 * Makes or joins the stand-ins of those of `paths` that are absent, and notes them in `folder` for the next gateway to
 * take away should this one be killed. Their parents exist.
 * @throws GateError `ERR_CONTROL_UNAVAILABLE` naming the path where none can be made; nothing is left then.
 */
export function holdStandIns(paths: readonly string[], folder: string): StandIns {
  const absent = paths.filter(isAbsent);
  if (absent.length === 0) return { folders: new Set(), release: () => {} };
  // Holders before the `commondir` that they are counted for: a dot sorts before a letter.
  const held: Held = { paths: absent.toSorted(), holder: `.callgate-${randomBytes(8).toString("hex")}` };
  const note = writeNote(folder, held);
  const release = (): void => {
    leave(held);
    rmSync(note, { force: true });
  };
  try {
    for (const path of held.paths) join(path, held.holder);
  } catch (error) {
    release();
    throw error;
  }
  return { folders: new Set(absent.filter((path) => !isCommondir(path))), release };
}

/** Takes away what gateways that were killed have left. */
export function sweepStandIns(folder: string): void {
  for (const held of deadNotes<Held>(folder)) leave(held);
}

/**
 * A stand-in that another sandbox holds is as good as nothing: it may go at any time.
 * @throws GateError `ERR_CONTROL_UNAVAILABLE` where it is another user's and cannot be joined.
 */
export function isAbsent(path: string): boolean {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return true;
  if (isCommondir(path)) return isHarmlessCommondir(path);
  try {
    return (entry.mode & MODE_BITS) === STAND_IN_MODE && holdsNothing(path);
  } catch (error) {
    throw cannotStandIn(path, error); // another user's
  }
}

function isCommondir(path: string): boolean {
  return basename(path) === "commondir";
}

function join(path: string, holder: string): void {
  try {
    inParent(path, (place) => {
      const begun = performance.now();
      while (!joined(place, holder)) {
        if (performance.now() - begun > JOIN_MS_MAX) throw new Error("another process does not let go of it");
        pause();
      }
    });
  } catch (error) {
    throw cannotStandIn(path, error);
  }
}

/** Whoever is in the way is in another process, in the middle of a few calls, and may not be running. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
}

function cannotStandIn(path: string, error: unknown): GateError {
  const why = error instanceof Error ? error.message.replace(/, \w+ '.*/, "") : String(error);
  return new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `\`${path}\` is protected and absent, and nothing can stand in for it: ${why}`,
    { remedy: "make it yourself, let the tool write a folder inside instead, or ask for `staged` writes" },
  );
}

function joined(place: string, holder: string): boolean {
  try {
    if (isCommondir(place)) return joinedCommondir(place, holder);
    enter(place, holder);
    return true;
  } catch (error) {
    if (failedWith(error, "ENOENT")) return false; // its last holder left just now
    throw error;
  }
}

function enter(place: string, holder: string): void {
  try {
    mkdirSync(place, STAND_IN_MODE);
    giveToOwner(place);
  } catch (error) {
    if (!failedWith(error, "EEXIST")) throw error;
    if (!isAbsent(place)) throw new Error("something has appeared there");
  }
  mkdirSync(`${place}/${holder}`, 0o700);
}

function joinedCommondir(place: string, holder: string): boolean {
  const holders = `${dirname(place)}/${COMMONDIR_HOLDERS}`;
  attempt(() => enter(holders, holder));
  if (joinCommondir(place, holders, holder)) return true;
  attempt(() => rmdirSync(`${holders}/${holder}`));
  return false;
}

/** In the tree of another user it is that user's to remove. */
function giveToOwner(place: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(place));
  lchownSync(place, uid, gid);
}

function leave({ paths, holder }: Held): void {
  const [files, folders] = [paths.filter(isCommondir), paths.filter((path) => !isCommondir(path))];
  for (const path of files) {
    attempt(() =>
      inParent(path, (place) => {
        const holders = `${dirname(place)}/${COMMONDIR_HOLDERS}`;
        attempt(() => rmSync(`${holders}/${holder}`, { recursive: true }));
        leaveCommondir(place, holders, holder);
      }),
    );
  }
  for (const path of folders) attempt(() => inParent(path, (place) => leaveFolder(place, holder)));
}

function leaveFolder(place: string, holder: string): void {
  attempt(() => rmdirSync(`${place}/${holder}`));
  const fd = openSync(place, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    if ((fstatSync(fd).mode & MODE_BITS) !== STAND_IN_MODE) return;
    if (holdsNothing(place)) attempt(() => rmdirSync(place));
    else fchmodSync(fd, ORDINARY_MODE);
  } finally {
    closeSync(fd);
  }
}

/** Nothing but holders. */
function holdsNothing(place: string): boolean {
  try {
    return readdirSync(place).every((name) => HOLDER.test(name));
  } catch (error) {
    if (failedWith(error, "ENOENT")) return true;
    throw error;
  }
}

function inParent(path: string, work: (place: string) => void): void {
  const steps = stepsBetween("/", dirname(path));
  withFolder("/", steps, (fd) => work(inFolder(fd, basename(path))));
}

/** What is gone already, or is somebody else's by now, is not ours to take away. */
function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // as above
  }
}
