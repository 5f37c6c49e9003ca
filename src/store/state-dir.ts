import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { GateError } from "../contract/errors.ts";

/** The files of a state folder. */
export const STATE_FILES = {
  database: "callgate.db",
  key: "log.key",
  publicKey: "log.pub",
  checkpoint: "checkpoint",
} as const;

const GROUP_AND_WORLD = 0o077;

/** The error code of Node's file system calls, such as `ENOENT`. */
export function errnoOf(fault: unknown): string | undefined {
  const code = fault instanceof Error && "code" in fault ? fault.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Turns a failed file operation into `ERR_STATE_UNWRITABLE`. */
export function unwritable(path: string, cause: unknown): GateError {
  const reason = errnoOf(cause) ?? "unknown";
  return new GateError("ERR_STATE_UNWRITABLE", `\`${path}\` cannot be written (${reason})`, {
    cause,
    remedy: "make the folder writable and free some space, or name another with `--state DIR`",
  });
}

/** Refuses a file or folder that somebody else owns or that group or world may touch. */
export function checkPrivate(path: string): void {
  const { mode, uid } = statSync(path);
  if ((mode & GROUP_AND_WORLD) !== 0) {
    throw new GateError("ERR_STATE_PERMISSIONS", `\`${path}\` can be read or written by others`, {
      remedy: `chmod go= ${path}`,
    });
  }
  if (uid !== process.geteuid?.()) {
    throw new GateError("ERR_STATE_PERMISSIONS", `\`${path}\` belongs to another user`, {
      remedy: `chown $(id -u) ${path}`,
    });
  }
}

/** Makes what was created, renamed or linked in a folder durable. */
export function syncDir(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes the state folder, mode 0700, where it is not there yet.
 * @throws GateError `ERR_STATE_UNWRITABLE`, `ERR_STATE_PERMISSIONS`
 */
export function ensureStateDir(dir: string): void {
  try {
    const made = mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (made !== undefined) syncDir(dirname(made));
  } catch (cause) {
    throw unwritable(dir, cause);
  }
  checkPrivate(dir);
}

/** Writes a new file of its own, durable but for its name. Fails where it exists. */
export function writeNewFile(path: string, text: string, mode: number): void {
  const fd = openSync(path, "wx", mode);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Puts `text` in the place of a file at once: readers see the old or the new, also after a crash. */
export function replaceFile(path: string, text: string): void {
  const next = `${path}.new`;
  const fd = openSync(next, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, path);
  syncDir(dirname(path));
}

/** A file's text, or undefined where there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (fault) {
    if (errnoOf(fault) === "ENOENT") return undefined;
    throw fault;
  }
}

/** Where a file of the state folder is. */
export function statePath(dir: string, file: keyof typeof STATE_FILES): string {
  return join(dir, STATE_FILES[file]);
}

/** Creates an empty database file that only its owner may read; SQLite gives its side files the same mode. */
export function reserveDatabase(path: string): void {
  try {
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}
