import { isAbsolute, relative } from "node:path";

/** Whether `path` is `root` or below it; both absolute and resolved. */
export function isWithin(path: string, root: string): boolean {
  const step = relative(root, path);
  return step !== ".." && !step.startsWith("../") && !isAbsolute(step);
}
