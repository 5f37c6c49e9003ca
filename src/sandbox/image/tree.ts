import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { type TarEntry, TarError, type TarSink } from "./tar.ts";

/** Of a whole image, unpacked. */
export const UNPACKED_BYTES_MAX: number = 8 * 1024 ** 3;
export const ENTRIES_MAX = 500_000;
/** As the kernel counts them (path_resolution(7)). */
const LINKS_FOLLOWED_MAX = 40;
const PATH_LENGTH_MAX = 4096;

/** Marks of an OCI layer that take away what lies below it (image-spec, layer.md, "Whiteouts"). */
const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

/** Set-id bits give nothing to a tool, which can gain no rights. */
const PERMISSIONS = 0o777;

interface Node {
  readonly kind: "file" | "folder" | "link";
  readonly layer: number;
  readonly target: string;
}

/**
 * A root file system that grows layer by layer in a folder of ours that nobody else writes. Every path is resolved in a
 * model of the tree, inside of the root: what is written on disk goes through folders made here and never through a link.
 */
export class ImageTree implements TarSink {
  readonly #root: string;
  readonly #nodes = new Map<string, Node>([["", { kind: "folder", layer: -1, target: "" }]]);
  /** Names by folder, so that a folder can be emptied without looking at every path. */
  readonly #children = new Map<string, Set<string>>([["", new Set()]]);
  /** Given when all is there: a folder that may not be written could not be filled. */
  readonly #modes = new Map<string, number>();
  #layer = -1;
  #entries = 0;
  #bytes = 0;
  #open: number | undefined;

  constructor(root: string) {
    this.#root = root;
    mkdirSync(root, { mode: 0o755 });
  }

  nextLayer(): void {
    this.#layer += 1;
  }

  /** @throws TarError for an entry that leaves the root, or the one that is too many. */
  begin(entry: TarEntry): void {
    this.#entries += 1;
    if (this.#entries > ENTRIES_MAX) throw new TarError(`it has more than ${ENTRIES_MAX} entries`);
    const [folder, name] = this.#place(entry.path);
    if (name === "") return; // the root itself
    if (name === OPAQUE) this.#empty(folder);
    else if (name.startsWith(WHITEOUT)) this.#remove(`${folder}/${name.slice(WHITEOUT.length)}`);
    else this.#make(`${folder}/${name}`, entry);
  }

  content(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    if (this.#bytes > UNPACKED_BYTES_MAX)
      throw new TarError(`it unpacks to more than ${UNPACKED_BYTES_MAX} bytes`);
    if (this.#open === undefined) return;
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#open, bytes, done);
  }

  end(): void {
    if (this.#open !== undefined) closeSync(this.#open);
    this.#open = undefined;
  }

  /** Folders get their own permissions, deepest first. */
  finish(): void {
    const deepestFirst = [...this.#modes].sort(([a], [b]) => b.length - a.length);
    for (const [path, mode] of deepestFirst) chmodSync(this.#root + path, mode);
  }

  #make(path: string, { kind, mode, target }: TarEntry): void {
    if (kind === "other") return; // devices and pipes: the sandbox has its own
    if (kind === "folder") {
      this.#modes.set(path, mode & PERMISSIONS);
      if (this.#nodes.get(path)?.kind === "folder") return;
    }
    const linked = kind === "hard link" ? this.#place(target).join("/") : "";
    if (kind === "hard link" && (linked === path || this.#nodes.get(linked)?.kind !== "file"))
      throw new TarError(`\`${path}\` is a hard link to no file of it`);
    this.#remove(path);
    const real = this.#root + path;
    if (kind === "folder") mkdirSync(real, { mode: 0o755 });
    else if (kind === "link") symlinkSync(target, real);
    else if (kind === "hard link") linkSync(this.#root + linked, real);
    else {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      this.#open = openSync(real, flags, mode & PERMISSIONS);
    }
    this.#note(path, kind === "hard link" ? "file" : kind, target);
  }

  #note(path: string, kind: Node["kind"], target: string): void {
    const slash = path.lastIndexOf("/");
    this.#nodes.set(path, { kind, layer: this.#layer, target });
    this.#children.get(path.slice(0, slash))?.add(path.slice(slash + 1));
    if (kind === "folder") this.#children.set(path, new Set());
  }

  /** What lower layers put there, and not what this one did. */
  #empty(folder: string): void {
    for (const name of [...(this.#children.get(folder) ?? [])]) {
      const path = `${folder}/${name}`;
      const node = this.#nodes.get(path);
      if (node !== undefined && node.layer < this.#layer) this.#remove(path);
      else if (node?.kind === "folder") this.#empty(path);
    }
  }

  #remove(path: string): void {
    if (!this.#nodes.has(path)) return;
    rmSync(this.#root + path, { recursive: true });
    this.#forget(path);
    const slash = path.lastIndexOf("/");
    this.#children.get(path.slice(0, slash))?.delete(path.slice(slash + 1));
  }

  #forget(path: string): void {
    for (const name of this.#children.get(path) ?? []) this.#forget(`${path}/${name}`);
    this.#children.delete(path);
    this.#nodes.delete(path);
    this.#modes.delete(path);
  }

  /** The folder that a path's last name lies in, all links followed inside of the root; made where it is missing. */
  #place(path: string): readonly [folder: string, name: string] {
    if (path.length > PATH_LENGTH_MAX || path.includes("\0"))
      throw new TarError("a path is too long or holds a NUL");
    const steps = path.split("/").filter((step) => step !== "" && step !== ".");
    if (steps.includes("..")) throw new TarError(`\`${path}\` leaves the root`);
    const name = steps.pop() ?? "";
    return [this.#folder("", steps, { followed: 0 }), name];
  }

  #folder(from: string, steps: readonly string[], links: { followed: number }): string {
    let at = from;
    for (const [index, step] of steps.entries()) {
      if (step === "..") {
        at = at.slice(0, Math.max(0, at.lastIndexOf("/"))); // the root's parent is the root
        continue;
      }
      const next = `${at}/${step}`;
      const node = this.#nodes.get(next);
      if (node?.kind === "link") {
        links.followed += 1;
        if (links.followed > LINKS_FOLLOWED_MAX) throw new TarError(`\`${next}\` leads round in a circle`);
        const target = node.target.split("/").filter((part) => part !== "" && part !== ".");
        const start = node.target.startsWith("/") ? "" : at;
        return this.#folder(start, [...target, ...steps.slice(index + 1)], links);
      }
      if (node?.kind === "file") throw new TarError(`\`${next}\` is a file, and something has to lie in it`);
      if (node === undefined) {
        mkdirSync(this.#root + next, { mode: 0o755 });
        this.#note(next, "folder", "");
      }
      at = next;
    }
    return at;
  }
}
