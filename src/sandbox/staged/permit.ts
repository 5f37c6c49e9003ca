import { isWithin } from "../../contract/within.ts";
import { GIT_NAMES } from "../protected-names.ts";
import type { Found } from "./compare.ts";

/**
 * Why a change may not be applied; undefined where it may. What is protected in a tree that is written directly is
 * refused here, and more: a repository's configuration and hooks at any depth, in any spelling that a file system
 * which ignores case would take for it.
 */
export function whyNotApplied({ change, now }: Found, protect: readonly string[]): string | undefined {
  const path = folded(change.path);
  for (const protectedPath of protect) {
    const folds = folded(protectedPath);
    const covers = isWithin(path, folds);
    // A file or a link in place of a folder on the way puts all that is in it elsewhere.
    const replaces = isWithin(folds, path) && now !== undefined && now.kind !== "folder";
    if (covers || replaces) return `\`${change.path}\` is protected`;
  }
  const steps = path.split("/");
  const at = steps.indexOf(".git");
  if (at < 0) return undefined;
  const [first, ...rest] = steps.slice(at + 1);
  const isLink = first === undefined && now !== undefined && now.kind !== "folder";
  const isOwn = first !== undefined && (GIT_NAMES.includes(first) || first === "worktrees");
  const isInner = first === "modules" && rest.some((step) => GIT_NAMES.includes(step));
  return isLink || isOwn || isInner ? `\`${change.path}\` is protected` : undefined;
}

function folded(path: string): string {
  return path.normalize("NFC").toLowerCase();
}
