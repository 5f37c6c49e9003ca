import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  type Stats,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { GateError } from "../contract/errors.ts";
import { type Digest, parseDigest } from "../contract/ids.ts";
import type { Snapshot } from "./snapshot.ts";
import { unifiedDiff } from "./unified-diff.ts";

/** One file that is not as it was when the project was trusted. */
export interface TrustChange {
  readonly path: string;
  readonly kind: "added" | "removed" | "changed";
  /** For people; invisible characters are written out. */
  readonly diff: string;
}

export interface Trust {
  readonly state: "trusted" | "untrusted" | "changed";
  /** Empty when trusted; every file, as added, when the project was never trusted. */
  readonly changes: readonly TrustChange[];
}

interface Pin {
  /** Real path of the project's configuration. */
  readonly project: string;
  readonly digest: Digest;
  readonly trustedMs: number;
  readonly files: readonly { readonly path: string; readonly text: string }[];
}

interface TrustFile {
  readonly version: 1;
  readonly projects: readonly Pin[];
}

const TRUST_FILE = "trust.json";

const trustFileSchema: z.ZodType<TrustFile> = z.strictObject({
  version: z.literal(1),
  projects: z.array(
    z.strictObject({
      project: z.string(),
      digest: z.string().transform(parseDigest),
      trustedMs: z.int(),
      files: z.array(z.strictObject({ path: z.string(), text: z.string() })),
    }),
  ),
});

function checkOwned(path: string, stats: Stats): void {
  const uid = process.getuid?.();
  const isOurs = stats.uid === uid || stats.uid === 0;
  if (isOurs && (stats.mode & 0o022) === 0) return;
  throw new GateError("ERR_STATE_PERMISSIONS", `\`${path}\` can be written by others, so it proves nothing`, {
    remedy: `look at it, then \`chmod go-rwx ${path}\``,
  });
}

function corrupt(path: string, cause: unknown): GateError {
  return new GateError("ERR_STATE_CORRUPT", `\`${path}\` cannot be read`, {
    cause,
    remedy: "move it away and run `callgate trust` in each project again",
  });
}

function parsePins(path: string, text: string): readonly Pin[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt(path, cause);
  }
  const version = (json as { version?: unknown } | null)?.version;
  if (typeof version === "number" && version > 1) {
    throw new GateError("ERR_STATE_NEWER", `\`${path}\` was written by a newer version`, {
      remedy: "update callgate",
    });
  }
  try {
    return trustFileSchema.parse(json).projects;
  } catch (cause) {
    throw corrupt(path, cause);
  }
}

function readPinsFile(stateDir: string, path: string): readonly Pin[] {
  const folder = lstatSync(stateDir, { throwIfNoEntry: false });
  if (folder === undefined || lstatSync(path, { throwIfNoEntry: false }) === undefined) return [];
  checkOwned(stateDir, folder);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw corrupt(path, undefined);
    checkOwned(path, stats);
    return parsePins(path, readFileSync(fd, "utf8"));
  } finally {
    closeSync(fd);
  }
}

function readPins(stateDir: string): readonly Pin[] {
  const path = join(stateDir, TRUST_FILE);
  try {
    return readPinsFile(stateDir, path);
  } catch (cause) {
    if (cause instanceof GateError) throw cause;
    throw new GateError("ERR_STATE_PERMISSIONS", `\`${path}\` cannot be read`, {
      cause,
      remedy: "give this user the state folder, or name another with `--state DIR`",
    });
  }
}

function keyOf(snapshot: Snapshot): string {
  return join(snapshot.root, snapshot.config);
}

function compare(pinned: ReadonlyMap<string, string>, found: ReadonlyMap<string, string>): TrustChange[] {
  const paths = [...new Set([...pinned.keys(), ...found.keys()])].sort();
  return paths.flatMap((path): TrustChange[] => {
    const before = pinned.get(path);
    const after = found.get(path);
    if (before === after) return [];
    const kind = before === undefined ? "added" : after === undefined ? "removed" : "changed";
    return [{ path, kind, diff: unifiedDiff(path, before, after) }];
  });
}

/**
 * Whether this project is as it was when a person trusted it, and what is different. Texts are compared, not only
 * digests, so a change can be shown.
 * @throws GateError `ERR_STATE_PERMISSIONS`, `ERR_STATE_CORRUPT` or `ERR_STATE_NEWER`.
 */
export function readTrust(snapshot: Snapshot, stateDir: string): Trust {
  const pin = readPins(stateDir).find(({ project }) => project === keyOf(snapshot));
  const pinned = new Map(pin?.files.map(({ path, text }) => [path, text]));
  const changes = compare(pinned, snapshot.files);
  if (pin === undefined) return { state: "untrusted", changes };
  return { state: changes.length === 0 && pin.digest === snapshot.digest ? "trusted" : "changed", changes };
}

/** Node's own recursive `mkdirSync` never returns where a file system refuses new folders with ENOENT (`/proc`). */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process made it in between.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function replaceFile(folder: string, name: string, text: string): void {
  const temporary = join(folder, `.${name}.${randomBytes(8).toString("hex")}`);
  const fd = openSync(temporary, "wx", 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
    renameSync(temporary, join(folder, name));
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  } finally {
    closeSync(fd);
  }
  const directory = openSync(folder, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/**
 * Pins the project as it is in this snapshot. Two at once may lose one pin, never make one.
 * @throws GateError `ERR_STATE_UNWRITABLE`, or what `readTrust` throws.
 */
export function trustProject(snapshot: Snapshot, stateDir: string, nowMs: number = Date.now()): void {
  const files = [...snapshot.files].map(([path, text]) => ({ path, text }));
  const pin: Pin = { project: keyOf(snapshot), digest: snapshot.digest, trustedMs: nowMs, files };
  const others = readPins(stateDir).filter(({ project }) => project !== pin.project);
  const content: TrustFile = { version: 1, projects: [...others, pin] };
  try {
    makeFolder(stateDir);
    replaceFile(stateDir, TRUST_FILE, `${JSON.stringify(content, undefined, 2)}\n`);
  } catch (cause) {
    throw new GateError("ERR_STATE_UNWRITABLE", `\`${join(stateDir, TRUST_FILE)}\` cannot be written`, {
      cause,
    });
  }
}
