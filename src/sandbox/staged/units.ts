import type { Found, StagedTree } from "./compare.ts";

/**
 * What is swapped in one rename: a file, a link, a folder's mode, or a whole subtree that is new or gone. `expects`
 * are the paths whose entries have to be as they were copied for it to be done, the unit's own first.
 */
export interface Unit {
  readonly tree: StagedTree;
  /** Below the tree's root. */
  readonly path: string;
  readonly puts: boolean;
  readonly takes: boolean;
  /** Only the mode of a folder that stays. */
  readonly mode?: number;
  readonly expects: readonly string[];
}

/** Changes, parents before children, as units in the order in which they are made: what goes before what comes. */
export function unitsOf(found: readonly Found[]): readonly Unit[] {
  const units: Unit[] = [];
  const whole = new Set<string>();
  for (const one of found) {
    const key = (path: string): string => `${one.tree.root}\0${path}`;
    if (parentsOf(one.path).some((parent) => whole.has(key(parent)))) continue;
    const unit = unitOf(one);
    // Below a folder that comes, goes or becomes something else, everything goes with it.
    if (unit.mode === undefined) whole.add(key(one.path));
    units.push(unit);
  }
  // A folder is opened before, and closed after, what is done in it.
  const opens = ({ mode }: Unit): number => (mode === undefined ? 1 : (mode & 0o200) !== 0 ? 0 : 2);
  return units.toSorted((a, b) => opens(a) - opens(b));
}

function unitOf({ tree, path, change, now }: Found): Unit {
  const before = change.change === "added" ? undefined : tree.baseline.get(path)?.original;
  if (before?.kind === "folder" && now?.kind === "folder")
    return { tree, path, puts: false, takes: false, mode: now.mode, expects: [path] };
  const below =
    before?.kind === "folder" ? [...tree.baseline.keys()].filter((key) => key.startsWith(`${path}/`)) : [];
  return { tree, path, puts: now !== undefined, takes: before !== undefined, expects: [path, ...below] };
}

function parentsOf(path: string): readonly string[] {
  const steps = path.split("/");
  return steps.slice(0, -1).map((_, index) => steps.slice(0, index + 1).join("/"));
}
