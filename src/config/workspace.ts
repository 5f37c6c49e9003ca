import { lstatSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { GateError } from "../contract/errors.ts";
import { isWithin } from "../contract/within.ts";

export const CONFIG_NAME = "callgate.yaml";

/** The folder that calls may see, and the configuration that names it. */
export interface Workspace {
  /** Real path: no symlink in it. */
  readonly root: string;
  /** The configuration's name inside `root`; undefined where there is none and built-in defaults apply. */
  readonly config: string | undefined;
}

export interface WorkspaceInputs {
  readonly workingDirectory: string;
  readonly home: string | undefined;
  readonly uid: number;
  /** `--config`, else `$CALLGATE_CONFIG`. */
  readonly config?: string | undefined;
}

function statOrUndefined(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/**
 * A configuration above a working folder decides what the workspace is. In a shared folder such as `/tmp` anyone can
 * put one there, so it has to belong to this user, to root, or to whoever owns the working folder.
 */
function checkOwner(path: string, owner: number, start: string, uid: number): void {
  if (owner === uid || owner === 0 || owner === statSync(start).uid) return;
  throw new GateError("ERR_CONFIG_UNTRUSTED", `\`${path}\` belongs to another user`, {
    place: { file: path },
    remedy: `name it with \`--config ${path}\` if it is meant`,
  });
}

function search(inputs: WorkspaceInputs, start: string): Workspace | undefined {
  const home = inputs.home === undefined ? undefined : realpathIfAny(inputs.home);
  const { dev } = statSync(start);
  for (let folder = start; ; folder = dirname(folder)) {
    // A configuration in the home folder would make all of it the workspace, the gate's own state included.
    if (folder === home) return undefined;
    if (statSync(folder).dev !== dev) return undefined;
    const path = join(folder, CONFIG_NAME);
    const found = statOrUndefined(path);
    if (found !== undefined && !found.isDirectory()) {
      checkOwner(path, found.uid, start, inputs.uid);
      return { root: folder, config: CONFIG_NAME };
    }
    if (folder === dirname(folder)) return undefined;
  }
}

function realpathIfAny(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function named(inputs: WorkspaceInputs, config: string): Workspace {
  const path = resolve(inputs.workingDirectory, config);
  const found = statOrUndefined(path);
  if (found === undefined || found.isDirectory()) {
    throw new GateError("ERR_CONFIG_NOT_FOUND", `there is no file \`${path}\``, {
      place: { file: path },
      remedy: "check `--config` and `CALLGATE_CONFIG`, or run `callgate init`",
    });
  }
  return { root: realpathSync(dirname(path)), config: basename(path) };
}

/**
 * Finds the workspace: the folder of the configuration that was named, or of the `callgate.yaml` in the working
 * folder or nearest above it, else the working folder. The search stops below the home folder, at the end of the
 * file system it began on (as git's does), and at the root.
 * @throws GateError `ERR_CONFIG_NOT_FOUND` when a file was named and is not there.
 * @throws GateError `ERR_CONFIG_UNTRUSTED` when the file found above belongs to someone else.
 */
export function findWorkspace(inputs: WorkspaceInputs): Workspace {
  if (inputs.config) return named(inputs, inputs.config);
  const start = realpathSync(inputs.workingDirectory);
  return search(inputs, start) ?? { root: start, config: undefined };
}

/** The real path of something that need not exist yet: its nearest existing ancestor resolved, the rest kept. */
function realpathAhead(path: string): string {
  let missing = "";
  for (let ancestor = resolve(path); ; ancestor = dirname(ancestor)) {
    try {
      return join(realpathSync(ancestor), missing);
    } catch {
      // A dangling symlink has no real path, and whoever makes its target later decides where state goes.
      if (statOrUndefined(ancestor) !== undefined || ancestor === dirname(ancestor)) {
        throw new GateError(
          "ERR_STATE_UNWRITABLE",
          `the state folder \`${path}\` goes through a broken link`,
          {
            remedy: "name another folder with `--state`",
          },
        );
      }
      missing = join(basename(ancestor), missing);
    }
  }
}

/**
 * Holds the root of trust outside of what tools can reach: the state folder may not be in the workspace, nor the
 * workspace in the state folder.
 * @returns the state folder's real path.
 * @throws GateError `ERR_STATE_PERMISSIONS`.
 */
export function checkStateOutside(stateDir: string, workspaceRoot: string): string {
  const state = realpathAhead(stateDir);
  const root = realpathSync(workspaceRoot);
  if (isWithin(state, root)) {
    throw new GateError(
      "ERR_STATE_PERMISSIONS",
      `the state folder \`${state}\` is inside the workspace \`${root}\``,
      {
        remedy: "work in a folder below it, or name a state folder outside with `--state DIR`",
      },
    );
  }
  if (isWithin(root, state)) {
    throw new GateError(
      "ERR_STATE_PERMISSIONS",
      `the workspace \`${root}\` is inside the state folder \`${state}\``,
      {
        remedy: "name another state folder with `--state DIR`",
      },
    );
  }
  return state;
}
