import { dirname } from "node:path/posix";
import type { Facts } from "./facts.ts";

/** As many as Linux follows (path_resolution(7)). */
const LINKS_MAX = 40;
/** PATH_MAX of Linux. */
const PATH_BYTES_MAX = 4096;

export type PathResult =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly code: "ERR_PATH_OUTSIDE" | "ERR_INPUT_SCHEMA"; readonly message: string };

/**
 * The canonical workspace-relative form of a path: symlinks followed at every step, the last included,
 * `..` taken after them, what does not exist yet allowed. `.` is the workspace itself; `~` is a plain name.
 *
 * A result that would start with `-` gets `./` before it, so no program can read one as an option; all
 * others stay bare, so that policies say `like "src/*"`.
 *
 * INVARIANT: the result holds no `..`, no empty step and no symlink as of now. A link made later is the
 * sandbox's to bound.
 */
export function canonicalPath(text: string, facts: Facts): PathResult {
  if (text === "") return refuse("ERR_INPUT_SCHEMA", "is empty; the workspace itself is `.`");
  if (text.includes("\0")) return refuse("ERR_PATH_OUTSIDE", "holds a NUL character");
  if (Buffer.byteLength(text) > PATH_BYTES_MAX)
    return refuse("ERR_PATH_OUTSIDE", "is longer than a path can be");
  const resolved = walk(text, facts);
  if (resolved === "unreadable")
    return refuse("ERR_PATH_OUTSIDE", "cannot be resolved: a folder is unreadable");
  if (resolved === "loop") return refuse("ERR_PATH_OUTSIDE", "cannot be resolved: too many symlinks");
  if (resolved === facts.workspace) return { ok: true, path: "." };
  const prefix = facts.workspace === "/" ? "/" : `${facts.workspace}/`;
  if (!resolved.startsWith(prefix)) return refuse("ERR_PATH_OUTSIDE", "leaves the workspace");
  const relative = resolved.slice(prefix.length);
  return { ok: true, path: relative.startsWith("-") ? `./${relative}` : relative };
}

/** realpath(3), except that what is missing is kept as written. */
function walk(text: string, facts: Facts): string | "loop" | "unreadable" {
  let at = text.startsWith("/") ? "/" : facts.workspace;
  const steps = text.split("/").reverse();
  let links = 0;
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    if (step === "" || step === ".") continue;
    if (step === "..") {
      at = dirname(at);
      continue;
    }
    const next = at === "/" ? `/${step}` : `${at}/${step}`;
    const fact = facts.look(next);
    if (fact.kind === "unreadable") return "unreadable";
    if (fact.kind !== "link") {
      at = next;
      continue;
    }
    links += 1;
    if (links > LINKS_MAX) return "loop";
    if (fact.target.startsWith("/")) at = "/";
    steps.push(...fact.target.split("/").reverse());
  }
  return at;
}

function refuse(code: "ERR_PATH_OUTSIDE" | "ERR_INPUT_SCHEMA", message: string): PathResult {
  return { ok: false, code, message };
}
