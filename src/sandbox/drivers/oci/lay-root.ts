import { type Dirent, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../../../contract/errors.ts";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../../contract/within.ts";
import { type InsideUser, type MountStep, madeFiles, type PlannedFile } from "../../mounts.ts";
import { INSIDE } from "../../user.ts";

/** Each becomes a mount: a folder that holds more beside what has to be laid in it is no root file system. */
const ROOT_MOUNTS_MAX = 1024;

/** Of the made files those that say who is inside and where; how names are looked up is the root's own business. */
const LAID_OVER = new Set(["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf"]);

export function filesOver(inside: InsideUser): readonly PlannedFile[] {
  return madeFiles(inside).filter(({ path }) => LAID_OVER.has(path) || !path.startsWith("/etc/"));
}

/**
 * Another root file system, read-only, as the bottom of a sandbox. Folders that nothing has to lie in are bound whole;
 * where something has to, the folder is made anew and its other entries are bound one by one.
 * @throws GateError `ERR_SANDBOX_START` where a link or a file stands in the way, or there is too much.
 */
export function layRoot(root: string, profile: Profile, files: readonly PlannedFile[]): readonly MountStep[] {
  const { read, write } = profile.files;
  const points = [
    ...["/proc", "/dev", "/sys", "/tmp", "/run/.", "/var/tmp", INSIDE.home],
    ...files.map(({ path }) => path),
    ...read,
    ...write,
    profile.workingDirectory,
  ];
  const steps = layFolder(root, "", points);
  if (steps.length <= ROOT_MOUNTS_MAX) return steps;
  throw refused(root, `it would take ${steps.length} mounts, and ${ROOT_MOUNTS_MAX} are the most`);
}

function layFolder(root: string, folder: string, points: readonly string[]): readonly MountStep[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => layEntry(root, `${folder}/${entry.name}`, entry, points));
}

function layEntry(
  root: string,
  path: string,
  entry: Dirent,
  points: readonly string[],
): readonly MountStep[] {
  const source = join(root, path);
  const within = points.filter((point) => point !== path && isWithin(point, path));
  if (entry.isDirectory() && within.length > 0) return layFolder(root, path, points);
  const [lost] = within;
  if (lost !== undefined && (entry.isSymbolicLink() || entry.isFile()))
    throw refused(root, `\`${path}\` is no folder in it, and \`${lost}\` has to lie there`);
  if (points.includes(path)) return [];
  if (entry.isSymbolicLink()) return [{ kind: "link", point: path, target: readlinkSync(source) }];
  return entry.isDirectory() || entry.isFile()
    ? [{ kind: "bind", point: path, source, writable: false }]
    : []; // a device, a pipe or a socket of whoever made it
}

function refused(root: string, why: string): GateError {
  return new GateError("ERR_SANDBOX_START", `\`${root}\` cannot be the root file system: ${why}`, {
    remedy: "grant other paths, or take another root file system",
  });
}
