import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  globSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
} from "node:fs";
import { join } from "node:path";
import { GateError } from "../contract/errors.ts";
import { type Digest, digestOf } from "../contract/ids.ts";
import { isWithin } from "../contract/within.ts";
import type { Settings } from "./defaults.ts";
import { DOCUMENT_BYTES_MAX } from "./document.ts";
import { parseSettings } from "./settings.ts";

export const LOCK_NAME = "callgate.lock";
export const PROJECT_FILES_MAX = 1000;
export const PROJECT_BYTES_MAX: number = 16 * 1024 * 1024;

/**
 * A project's configuration and everything it names, read once.
 * INVARIANT: `digest` is over exactly the texts in `files`, and nothing is read again: what was trusted is what is used.
 */
export interface Snapshot {
  /** Real path of the project. */
  readonly root: string;
  /** Name of the configuration in `root`. */
  readonly config: string;
  readonly settings: Settings;
  /** Texts by path relative to `root`, sorted by path. */
  readonly files: ReadonlyMap<string, string>;
  readonly manifests: readonly string[];
  readonly policies: readonly string[];
  readonly policyTests: readonly string[];
  readonly lock: string | undefined;
  readonly digest: Digest;
}

function refuse(path: string, message: string, remedy?: string): GateError {
  const place = { file: path };
  return new GateError("ERR_CONFIG_INVALID", message, remedy === undefined ? { place } : { place, remedy });
}

function realpathIfAny(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new GateError("ERR_CONFIG_INVALID", `\`${path}\` cannot be read (${code})`, { cause: error });
  }
}

function checkInside(root: string, path: string, real: string): void {
  if (isWithin(real, root)) return;
  throw refuse(path, `\`${path}\` is a link that leaves the project`, "put the file itself into the project");
}

function readBounded(fd: number, path: string): Uint8Array {
  // One byte more than the bound, so that a file that grows meanwhile is noticed.
  const buffer = new Uint8Array(DOCUMENT_BYTES_MAX + 1);
  let filled = 0;
  for (;;) {
    const read = readSync(fd, buffer, filled, buffer.length - filled, null);
    if (read === 0) return buffer.subarray(0, filled);
    filled += read;
    if (filled > DOCUMENT_BYTES_MAX) throw refuse(path, `\`${path}\` is larger than 1 MiB`);
  }
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    // The mark stays in the text, so that the text has the digest of the bytes.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new GateError("ERR_CONFIG_SYNTAX", `\`${path}\` is not UTF-8`, { place: { file: path }, cause });
  }
}

/** Reads one file of a project through one descriptor, or returns undefined where there is none. */
function readInside(root: string, path: string): string | undefined {
  try {
    return readOnce(root, path);
  } catch (cause) {
    if (cause instanceof GateError) throw cause;
    const { code = "" } = cause as NodeJS.ErrnoException;
    throw new GateError("ERR_CONFIG_INVALID", `\`${path}\` cannot be read (${code})`, {
      place: { file: path },
      cause,
    });
  }
}

function readOnce(root: string, path: string): string | undefined {
  const real = realpathIfAny(join(root, path));
  if (real === undefined) return undefined;
  checkInside(root, path, real);
  // Without blocking: a FIFO standing there must not hold the gate up.
  const fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    // A folder on the way may have become a link since: what counts is what was opened.
    checkInside(root, path, readlinkSync(`/proc/self/fd/${fd}`));
    if (!fstatSync(fd).isFile()) throw refuse(path, `\`${path}\` is not a regular file`);
    return decode(readBounded(fd, path), path);
  } finally {
    closeSync(fd);
  }
}

const NEVER_SEARCHED: ReadonlySet<string> = new Set([".git", "node_modules"]);

function expand(root: string, pattern: string): string[] {
  const matches = globSync(pattern, {
    cwd: root,
    withFileTypes: true,
    exclude: (entry) => NEVER_SEARCHED.has(entry.name),
  });
  const found = matches
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root === "/" ? 1 : root.length + 1));
  return found.sort();
}

function expandCatalog(root: string, config: string, patterns: readonly string[]): string[] {
  const found = new Set<string>();
  for (const pattern of patterns) {
    const matches = expand(root, pattern);
    if (matches.length === 0 && !/[*?]/.test(pattern)) throw noFile(config, "catalog", pattern);
    for (const match of matches) found.add(match);
  }
  return [...found].sort();
}

function noFile(config: string, key: string, path: string): GateError {
  return new GateError("ERR_CONFIG_NOT_FOUND", `there is no file \`${path}\`, which \`${key}\` names`, {
    place: { file: config },
  });
}

function checkNamed(root: string, config: string, key: string, paths: readonly string[]): void {
  const missing = paths.find((path) => !existsSync(join(root, path)));
  if (missing !== undefined) throw noFile(config, key, missing);
}

function checkPolicies(root: string, config: string, folder: string): void {
  const real = realpathIfAny(join(root, folder));
  if (real !== undefined) checkInside(root, folder, real);
  else if (folder !== "policies") {
    throw new GateError(
      "ERR_CONFIG_NOT_FOUND",
      `there is no folder \`${folder}\`, which \`policies\` names`,
      {
        place: { file: config },
      },
    );
  }
}

/** Digest over the paths and texts; the order of `files` does not matter. */
function digestFiles(files: ReadonlyMap<string, string>): Digest {
  const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  return digestOf(JSON.stringify(sorted.map(([path, text]) => [path, digestOf(text)])));
}

function readAll(root: string, paths: readonly string[], files: Map<string, string>): void {
  let bytes = 0;
  for (const path of paths) {
    const text = readInside(root, path);
    // Listed and gone: someone is changing the project under our hands.
    if (text === undefined) throw refuse(path, `\`${path}\` is a broken link or vanished while it was read`);
    bytes += Buffer.byteLength(text);
    if (bytes > PROJECT_BYTES_MAX)
      throw refuse(path, "the project's tools and policies are larger than 16 MiB together");
    files.set(path, text);
  }
}

/**
 * Reads a project's configuration and every file it names, once.
 * @throws GateError `ERR_CONFIG_*` with the file, when one is missing, malformed, or a link that leaves the project.
 */
export function snapshotProject(root: string, config: string): Snapshot {
  const text = readInside(root, config);
  if (text === undefined) {
    throw new GateError("ERR_CONFIG_NOT_FOUND", `there is no file \`${config}\``, {
      place: { file: config },
    });
  }
  const settings = parseSettings(text, config);
  checkPolicies(root, config, settings.policies);
  const manifests = expandCatalog(root, config, settings.catalog);
  const policies = expand(root, `${settings.policies}/*.cedar`);
  const policyTests = expand(root, `${settings.policies}/tests/*.yaml`);
  const lock = existsSync(join(root, LOCK_NAME)) ? LOCK_NAME : undefined;
  const { authorities } = settings.egress;
  checkNamed(root, config, "egress.authorities", authorities);
  const named = [
    ...manifests,
    ...policies,
    ...policyTests,
    ...(lock === undefined ? [] : [lock]),
    ...authorities,
  ];
  const paths = [...new Set(named)];
  if (paths.length > PROJECT_FILES_MAX)
    throw refuse(config, `the project names more than ${PROJECT_FILES_MAX} files`);
  const files = new Map([[config, text]]);
  readAll(
    root,
    paths.filter((path) => path !== config),
    files,
  );
  return {
    root,
    config,
    settings,
    files,
    manifests,
    policies,
    policyTests,
    lock,
    digest: digestFiles(files),
  };
}
