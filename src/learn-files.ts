import { realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { FileAccess, ObservedFiles } from "./contract/execution.ts";
import type { Profile } from "./contract/profile.ts";
import { isWithin } from "./contract/within.ts";
import { HOME_SECRETS, NEVER_GRANTED } from "./sandbox/grants.ts";
import { readHostLayout } from "./sandbox/host.ts";
import { madeFiles } from "./sandbox/mounts.ts";
import { INSIDE } from "./sandbox/user.ts";

/** A path of this host that a tool used, or asked for and did not get: what a grant could name. */
export interface UsedPath {
  /** Absolute, links followed. */
  readonly path: string;
  readonly kind: "file" | "folder";
  readonly access: "read" | "write";
  readonly times: number;
  /** Whether the profile of that run gave it. */
  readonly granted: boolean;
}

/** A path of this host that was asked for and is never proposed. */
export interface WithheldPath {
  readonly path: string;
  readonly times: number;
  readonly why: string;
}

export interface UsedFiles {
  readonly used: readonly UsedPath[];
  readonly withheld: readonly WithheldPath[];
  /** Folders and files that no grant may lead to, so that no folder around one is proposed in place of many files. */
  readonly never: readonly string[];
  readonly home: string;
  /** What was not seen; empty where all was. */
  readonly gaps: readonly string[];
}

/** What of this host the comparison must know beside what was observed. */
export interface LearningPlace {
  readonly workspace: string;
  readonly home: string;
  /** Our own files, hidden from every tool. */
  readonly ownHidden: readonly string[];
}

/** Withheld paths that are told; a tool could ask for any number. */
export const WITHHELD_MAX = 100;

const SECRET = "asked for, never proposed: a secret, a daemon's socket or a file of the gate's own";
const PROTECTED = "asked for writing, never proposed: protected from every tool";
const UNWRITABLE = "used, and its name cannot be written in a manifest";

/** What a path of the manifest cannot hold, `$` and braces among them: there it is literal. */
const UNWRITABLE_NAME = /[\x00-\x1f\x7f{}*?$]/;

/**
 * Compares what a tool named with this host. A path that was not there inside and is there outside is the interesting
 * one. What every sandbox has, or makes for itself, is left out; secrets are told and never proposed.
 */
export function usedFiles(observed: ObservedFiles, profile: Profile, place: LearningPlace): UsedFiles {
  const workspace = realpathSync(place.workspace);
  const never = [
    ...HOME_SECRETS.map((name) => join(place.home, name)),
    ...place.ownHidden,
    ...profile.files.hide,
  ];
  const comparison = new Comparison(profile, workspace, place.home, never);
  for (const { path, access, times, malformed } of observed.files)
    comparison.add(path, access, times, malformed === true);
  return { ...comparison.result(), never, home: place.home, gaps: gapsOf(observed) };
}

function gapsOf({ further, unread, complete }: ObservedFiles): readonly string[] {
  return [
    ...(complete ? [] : ["the observer ended before the tool, and what it saw is lost"]),
    ...(further > 0 ? [`${further} calls named more paths than are kept`] : []),
    ...(unread > 0 ? [`the paths of ${unread} calls could not be read`] : []),
  ];
}

class Comparison {
  readonly #profile: Profile;
  readonly #workspace: string;
  readonly #home: string;
  readonly #never: readonly string[];
  /** What every sandbox has of the host, or makes: nothing to grant. */
  readonly #usual: readonly string[];
  readonly #used = new Map<string, UsedPath>();
  readonly #withheld = new Map<string, WithheldPath>();

  constructor(profile: Profile, workspace: string, home: string, never: readonly string[]) {
    this.#profile = profile;
    this.#workspace = workspace;
    this.#home = home;
    this.#never = never;
    const { system, links, etcFolders, etcFiles } = readHostLayout();
    this.#usual = [
      ...system,
      ...links.map(([path]) => path),
      ...etcFolders.flat(),
      ...etcFiles,
      ...madeFiles(INSIDE).map(({ path }) => path),
      ...["/proc", "/sys", "/dev", "/tmp", "/var/tmp", INSIDE.home],
    ];
  }

  add(named: string, access: FileAccess, times: number, malformed: boolean): void {
    // The tool's home is a folder of its own; a secret that it looks for there is one of the real home.
    if (isWithin(named, INSIDE.home)) {
      const meant = join(this.#home, named.slice(INSIDE.home.length));
      if (this.#isNever(meant) && kindOf(meant) !== undefined) this.#withhold(meant, times, SECRET);
    }
    if (this.#isUsual(named)) return;
    const real = malformed ? undefined : realOf(named);
    const kind = real === undefined ? undefined : kindOf(real);
    if (kind === undefined && access !== "write") {
      if (malformed) this.#withhold(named, times, UNWRITABLE);
      return;
    }
    const path = real ?? named;
    if (this.#isNever(named) || this.#isNever(path)) {
      if (kind !== undefined) this.#withhold(path, times, SECRET);
    } else if (malformed || UNWRITABLE_NAME.test(path)) this.#withhold(path, times, UNWRITABLE);
    else if (access === "write") this.#write(path, kind, times);
    // Whoever walks a tree looks at each folder on the way, which needs none of them.
    else if (access !== "look" || kind === "file") this.#read(path, kind ?? "file", times);
  }

  result(): Pick<UsedFiles, "used" | "withheld"> {
    const byPath = (a: { readonly path: string }, b: { readonly path: string }): number =>
      a.path < b.path ? -1 : Number(a.path > b.path);
    return {
      used: [...this.#used.values()].toSorted(byPath),
      withheld: [...this.#withheld.values()].toSorted(byPath),
    };
  }

  #read(path: string, kind: UsedPath["kind"], times: number): void {
    if (this.#isUsual(path)) return;
    const { read, write } = this.#profile.files;
    const granted = this.#opens([...read, ...write], path);
    const isOwn = this.#opens([this.#workspace, this.#home], path);
    if (isOwn || isForEverybody(path)) this.#use({ path, kind, access: "read", times, granted });
    else this.#withhold(path, times, SECRET);
  }

  /** A file that the tool may have made itself need not be there the next time: its folder is what it needs. */
  #write(path: string, kind: UsedPath["kind"] | undefined, times: number): void {
    const { write, protect } = this.#profile.files;
    const granted = this.#opens(write, path);
    const wasThere = kind !== undefined && !granted;
    const folder = existingFolder(dirname(path));
    if (this.#opens(protect, path)) this.#withhold(path, times, PROTECTED);
    else if (wasThere) this.#use({ path, kind, access: "write", times, granted });
    else if (this.#isNever(folder)) this.#withhold(path, times, SECRET);
    else if (!this.#isUsual(folder))
      this.#use({ path: folder, kind: "folder", access: "write", times, granted });
  }

  #use(use: UsedPath): void {
    const key = `${use.access} ${use.path}`;
    const known = this.#used.get(key);
    const granted = use.granted && known?.granted !== false;
    this.#used.set(key, { ...use, granted, times: use.times + (known?.times ?? 0) });
  }

  #withhold(path: string, times: number, why: string): void {
    const key = `${why} ${path}`;
    const known = this.#withheld.get(key);
    if (known === undefined && this.#withheld.size >= WITHHELD_MAX) return;
    this.#withheld.set(key, { path, why, times: times + (known?.times ?? 0) });
  }

  #opens(roots: readonly string[], path: string): boolean {
    return roots.some((root) => isWithin(path, root));
  }

  /** A grant, and the workspace, may lie in a folder that a sandbox else has for itself. */
  #isUsual(path: string): boolean {
    const { read, write } = this.#profile.files;
    if (this.#opens([...read, ...write, this.#workspace], path)) return false;
    return path === "/" || this.#opens(this.#usual, path);
  }

  #isNever(path: string): boolean {
    return this.#opens([...this.#never, ...NEVER_GRANTED], path);
  }
}

/** Links followed; undefined where it is not there, or is a link to something without a path. */
function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function kindOf(path: string): UsedPath["kind"] | undefined {
  try {
    const entry = statSync(path, { throwIfNoEntry: false });
    if (entry === undefined) return undefined;
    return entry.isDirectory() ? "folder" : "file";
  } catch {
    return undefined; // not ours to look at, so not ours to grant
  }
}

/** Outside of the caller's own folders what not everybody may read is the system's secret, such as `/etc/shadow`. */
function isForEverybody(path: string): boolean {
  const entry = statSync(path, { throwIfNoEntry: false });
  return entry !== undefined && (entry.mode & 0o004) !== 0;
}

function existingFolder(path: string): string {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const real = realOf(folder);
    if (real !== undefined && kindOf(real) === "folder") return real;
    if (folder === dirname(folder)) return folder;
  }
}
