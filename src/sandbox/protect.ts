import { lstatSync, readdirSync, readFileSync, type Stats } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { GateError } from "../contract/errors.ts";
import { stepsBetween } from "./beneath.ts";
import { GIT_NAMES, PROTECTED_NAMES } from "./protected-names.ts";

/** Repositories of submodules that are looked at; a tree with more of them is refused. */
export const SUBMODULES_MAX = 256;
/** How deep below `.git/modules` they are looked for: a submodule's name may hold slashes. */
const SUBMODULE_DEPTH_MAX = 6;

export interface ProtectRequest {
  /** Resolved grants. */
  readonly write: readonly string[];
  /** What nobody may open, whatever is granted: our own files, and what the project lists. */
  readonly always: readonly string[];
  /** Usual names that are absent and that a grant names: they may be made, with all in them. */
  readonly toMake: readonly string[];
  readonly workspace: string;
  readonly home: string;
  /** Whether the tree is a private copy: there they are names to refuse, and nothing is mounted. */
  readonly staged: boolean;
}

/**
 * What is readable and never written inside of the granted trees: the usual names at the root of each, and in the
 * workspace where a grant lies around it, unless a grant names them. Where people work – the workspace, a repository, the
 * home folder – those that are absent too; in a folder inside of one (`dist`, `src`) nothing looks for them, and some
 * thirty stand-ins for each call would start everything that watches it. A path that is not there is listed as the first
 * folder or file on the way to it that is missing: something has to stand there, or a tool would make it.
 * @throws GateError `ERR_CONTROL_UNAVAILABLE` where a link stands on the way: nothing can be mounted on one.
 */
export function protectedPaths({
  write,
  always,
  toMake,
  workspace,
  home,
  staged,
}: ProtectRequest): readonly string[] {
  const trees = write.filter((root) => isFolder(root) && !write.some((outer) => isBelow(root, outer)));
  const roots = [...trees, ...trees.filter((tree) => isBelow(workspace, tree)).map(() => workspace)];
  const usual = [...new Set(roots)].flatMap((root) => {
    const isEntered =
      root === workspace || root === home || isFolder(join(root, ".git")) || isBelow(workspace, root);
    return staged || isEntered ? usualIn(root) : usualIn(root).filter((path) => entryOf(path) !== undefined);
  });
  const named = (path: string): boolean =>
    write.some((grant) => grant === path || isBelow(grant, path)) ||
    toMake.some((made) => made === path || isBelow(path, made));
  const paths = [...usual.filter((path) => !named(path)), ...always];
  return paths.flatMap((path) => {
    const inner = write.filter((grant) => isBelow(grant, path))[0];
    if (inner !== undefined) throw neverWritten(inner, path);
    if (write.includes(path)) return [path];
    const tree = trees.find((root) => isBelow(path, root));
    if (tree === undefined) return [];
    return [staged ? path : coverable(tree, path)];
  });
}

/** Whether a path is, or holds, one of the usual names in one of these trees. */
export function isUsualName(path: string, trees: readonly string[]): boolean {
  return trees.some((root) => {
    const holds = (name: string): boolean => join(root, name) === path || isBelow(join(root, name), path);
    return isBelow(path, root) && PROTECTED_NAMES.some(holds);
  });
}

function usualIn(root: string): readonly string[] {
  return [...PROTECTED_NAMES.map((name) => join(root, name)), ...repositoriesIn(root)];
}

/** Only what there is: nothing points to a repository that a tool makes there later. */
function repositoriesIn(root: string): readonly string[] {
  const git = join(root, ".git");
  if (!isFolder(git)) return [];
  const worktrees = join(git, "worktrees");
  const inner = submodulesIn(join(git, "modules"), SUBMODULE_DEPTH_MAX);
  if (inner.length > SUBMODULES_MAX) {
    throw new GateError("ERR_USAGE", `\`${git}\` holds more than ${SUBMODULES_MAX} submodules`, {
      remedy: "grant folders inside of the tree instead of the whole",
    });
  }
  return [
    ...(isFolder(worktrees) ? [worktrees] : []),
    ...inner.flatMap((folder) => ofSubmodule(root, folder)),
  ];
}

/** A submodule's repository, and the `.git` file that leads there from the tree: git follows it at every status. */
function ofSubmodule(root: string, folder: string): readonly string[] {
  const own = GIT_NAMES.map((name) => join(folder, name));
  const [, worktree] = /^\s*worktree\s*=\s*"?([^"\n]+?)"?\s*$/m.exec(textOf(join(folder, "config"))) ?? [];
  const leads = worktree === undefined ? undefined : join(resolve(folder, worktree), ".git");
  return leads !== undefined && isBelow(leads, root) ? [...own, leads] : own;
}

function submodulesIn(folder: string, depth: number): readonly string[] {
  if (!isFolder(folder)) return [];
  if (entryOf(join(folder, "HEAD")) !== undefined) {
    return [folder, ...submodulesIn(join(folder, "modules"), depth - 1)];
  }
  if (depth === 0) return [];
  return readdirSync(folder).flatMap((name) => submodulesIn(join(folder, name), depth - 1));
}

function textOf(path: string): string {
  return entryOf(path)?.isFile() ? readFileSync(path, "utf8") : "";
}

/** The part of `path` that a mount can cover: all of it, or up to what is missing or is no folder. */
function coverable(tree: string, path: string): string {
  let at = tree;
  for (const step of stepsBetween(tree, path)) {
    at = join(at, step);
    const entry = entryOf(at);
    if (entry === undefined) return at;
    if (entry.isSymbolicLink()) throw isLink(at);
    if (!entry.isDirectory()) return at;
  }
  return path;
}

function isLink(path: string): GateError {
  return new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `\`${path}\` is a link, and a link in a writable tree cannot be protected: a tool could replace it`,
    { remedy: `put what it points to in its place, or grant folders other than \`${dirname(path)}\`` },
  );
}

function neverWritten(grant: string, path: string): GateError {
  return new GateError("ERR_USAGE", `\`${grant}\` is never opened for writing: \`${path}\` is protected`, {
    remedy: "leave it out of the grant",
  });
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

function isFolder(path: string): boolean {
  return entryOf(path)?.isDirectory() ?? false;
}

function entryOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // a step on the way is no folder
  }
}
