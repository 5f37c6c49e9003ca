import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { GateError } from "../../contract/errors.ts";

export type Kind = "file" | "folder" | "link" | "special";

/** What lstat(2) says of one entry. `ctimeNs` is the kernel's own and cannot be set, so an equal stamp is an equal entry. */
export interface Stamp {
  readonly kind: Kind;
  readonly mode: number;
  readonly bytes: number;
  readonly inode: string;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** Of a link. */
  readonly target?: string;
}

const PERMISSIONS = 0o7777;

/** @returns undefined where nothing is. Follows no link. */
export function stampOf(place: string): Stamp | undefined {
  const entry = lstatSync(place, { bigint: true, throwIfNoEntry: false });
  if (entry === undefined) return undefined;
  const kind: Kind = entry.isFile()
    ? "file"
    : entry.isDirectory()
      ? "folder"
      : entry.isSymbolicLink()
        ? "link"
        : "special";
  return {
    kind,
    mode: Number(entry.mode) & PERMISSIONS,
    bytes: Number(entry.size),
    inode: `${entry.dev}:${entry.ino}`,
    mtimeNs: entry.mtimeNs,
    ctimeNs: entry.ctimeNs,
    ...(kind === "link" ? { target: readlinkSync(place) } : {}),
  };
}

/** A folder's times change with what is in it, so only its identity and its mode count. */
export function isSame(a: Stamp | undefined, b: Stamp | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.kind !== b.kind || a.mode !== b.mode || a.inode !== b.inode) return false;
  return a.kind === "folder" || (a.ctimeNs === b.ctimeNs && a.mtimeNs === b.mtimeNs && a.bytes === b.bytes);
}

/**
 * The names in a folder.
 * @throws GateError `ERR_CHANGES_REFUSED` for one that is not UTF-8: it could be recorded only as another.
 */
export function namesIn(place: string): readonly string[] {
  return readdirSync(place, { encoding: "buffer" }).map((bytes) => {
    const name = bytes.toString("utf8");
    if (Buffer.from(name).equals(bytes)) return name;
    throw new GateError("ERR_CHANGES_REFUSED", `a name is not UTF-8: ${JSON.stringify(name)}`, {
      remedy: "rename it, or let the tool write without `staged`",
    });
  });
}
