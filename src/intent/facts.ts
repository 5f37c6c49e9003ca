import { readlinkSync, realpathSync } from "node:fs";
import { GateError } from "../contract/errors.ts";

/** What a path is found to be. `unreadable`: the kernel would not say. */
export type PathFact =
  | { readonly kind: "plain" | "missing" | "unreadable" }
  | { readonly kind: "link"; readonly target: string };

/** What the world looks like, handed to this stage so that it stays pure. */
export interface Facts {
  /** The workspace's canonical absolute path. */
  readonly workspace: string;
  /** What lies at an absolute path, its last component not followed. */
  look(path: string): PathFact;
}

/**
 * The facts of this machine's file system.
 * @throws GateError `ERR_CONFIG_INVALID` when the workspace is not there.
 */
export function hostFacts(workspace: string): Facts {
  return { workspace: canonicalWorkspace(workspace), look };
}

function canonicalWorkspace(workspace: string): string {
  try {
    return realpathSync(workspace);
  } catch (cause) {
    throw new GateError("ERR_CONFIG_INVALID", `workspace \`${workspace}\` cannot be opened`, { cause });
  }
}

function look(path: string): PathFact {
  try {
    return { kind: "link", target: readlinkSync(path) };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EINVAL") return { kind: "plain" };
    // ENOTDIR: a step below a file, which cannot lead anywhere.
    if (code === "ENOENT" || code === "ENOTDIR") return { kind: "missing" };
    return { kind: "unreadable" };
  }
}
