import { realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { GateError } from "../contract/errors.ts";
import type { Root, RootRequest } from "../contract/root.ts";
import { isWithin } from "../contract/within.ts";
import { onlyImage } from "./image/layout.ts";

/**
 * The root file system a request means on this host: links followed, a layout's image pinned by its digest.
 * `secret` are paths that no tool may see: a root that holds one is refused, since nothing is laid over it there, and so
 * is one that lies in one.
 * @throws GateError `ERR_USAGE`, `ERR_PATH_OUTSIDE`.
 */
export function resolveRoot(root: RootRequest, workspace: string, secret: readonly string[]): Root {
  if (root.from === "host" || root.from === "image") return root;
  const path = realFolder(root.path, workspace);
  const held = secret.find((hidden) => isWithin(hidden, path));
  const around = secret.find((hidden) => isWithin(path, hidden));
  if (around !== undefined || (held !== undefined && root.from === "folder")) {
    const why = around === undefined ? `\`${held}\` lies in it` : `it lies in \`${around}\``;
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be a root file system: ${why}`, {
      remedy: "name a folder that holds a root file system and nothing else",
    });
  }
  if (root.from === "layout") return { from: "layout", path, digest: root.digest ?? onlyImage(path) };
  return { from: "folder", path };
}

function realFolder(asked: string, workspace: string): string {
  const path = resolve(workspace, asked.replace(/^\$\{workspace\}/, workspace));
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new GateError("ERR_USAGE", `there is no folder \`${path}\` to be a root file system`, {
      remedy: "make it first, or name another",
    });
  }
  const real = realpathSync(path);
  if (!asked.startsWith("/") && !isWithin(real, workspace)) {
    throw new GateError("ERR_PATH_OUTSIDE", `\`${asked}\` leads out of the workspace, to \`${real}\``, {
      remedy: "name an absolute path if that is meant",
    });
  }
  return real;
}
