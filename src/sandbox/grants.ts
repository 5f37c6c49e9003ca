import { readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { GateError } from "../contract/errors.ts";
import type { Limits, Profile } from "../contract/profile.ts";
import type { RootRequest } from "../contract/root.ts";
import type { IsolationClass } from "../contract/tier.ts";
import { isWithin } from "../contract/within.ts";
import { checkVariable } from "./launcher.ts";
import { isUsualName, protectedPaths } from "./protect.ts";
import { resolveRoot } from "./root.ts";
import { INSIDE } from "./user.ts";

/** Never granted, nor anything below: kernel interfaces, and the sockets of daemons that would act for a tool. */
export const NEVER_GRANTED: readonly string[] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/boot"];

/** Hidden where a grant opens a home folder; a grant that names one of them exactly opens it. */
export const HOME_SECRETS: readonly string[] = [
  ".ssh",
  ".gnupg",
  ".aws",
  ".azure",
  ".config/gcloud",
  ".config/gh",
  ".docker",
  ".kube",
  ".netrc",
  ".npmrc",
  ".pypirc",
  ".git-credentials",
  ".bash_history",
  ".zsh_history",
  ".python_history",
  ".password-store",
  ".local/share/keyrings",
  ".cargo/credentials.toml",
  ".pgpass",
  ".my.cnf",
  ".vault-token",
  ".config/op",
  ".mozilla",
  ".m2/settings.xml",
];

const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

// biome-ignore lint/suspicious/noTemplateCurlyInString: a place in a manifest, filled here
const NODE = "${node}";

/** Where the Node that runs the gate is installed, `bin/node` in it. Found once: an update may move it meanwhile. */
const NODE_FOLDER = dirname(dirname(realpathSync(process.execPath)));

/** What a manifest or the command line asks for, before it is resolved on this host. */
export interface ProfileRequest {
  readonly isolation: IsolationClass;
  /** Unset: the host's. */
  readonly root?: RootRequest;
  readonly files: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    readonly hide: readonly string[];
    readonly staged?: true;
  };
  readonly environment: Readonly<Record<string, string>>;
  readonly workspace: string;
  readonly workingDirectory?: string;
  readonly limits: Limits;
  readonly treeLimits: boolean;
  /** Our own files: hidden where a grant opens them. */
  readonly ownHidden: readonly string[];
  /** Our own files, and what the project lists: readable and never written, beside the usual names. */
  readonly ownProtected: readonly string[];
  readonly home: string;
}

/**
 * Resolves a request on this host: symlinks followed, our own files hidden or protected, a bare environment.
 * @throws GateError `ERR_PATH_OUTSIDE` for a relative grant that leaves the workspace, `ERR_USAGE` for one that is
 * missing or may never be granted.
 */
export function buildProfile(request: ProfileRequest): Profile {
  const workspace = realpathSync(request.workspace);
  const grant = (path: string): string => resolveGrant(path, workspace);
  const read = unique(request.files.read.map(grant));
  const ahead = (path: string): string => realAhead(resolve(workspace, expand(path, workspace)));
  const there = request.files.write.filter((path) => realIfPresent(ahead(path)).length > 0);
  const write = unique(there.map(grant));
  // A usual name that is not there yet, in a tree that may be written: named to be made, and nothing to mount.
  const toMake = request.files.write
    .filter((path) => !there.includes(path))
    .map((path) => (isUsualName(ahead(path), write) ? ahead(path) : grant(path)));
  const granted = [...read, ...write];
  const named = new Set(granted);
  const opened = (path: string): boolean => granted.some((root) => isWithin(path, root));
  const secrets = HOME_SECRETS.map((name) => join(request.home, name)).filter((path) => !named.has(path));
  const staged = request.files.staged === true && write.length > 0;
  const own = request.ownHidden.map(realAhead);
  const hide = [
    ...request.files.hide.map(ahead),
    ...secrets.flatMap(realIfPresent),
    ...own,
    ...hostSockets(),
  ];
  for (const path of own) {
    const inside = granted.find((root) => isWithin(root, path));
    if (inside !== undefined) throw neverGranted(inside);
    // Hiding it is not enough there: a parent could be renamed away and another folder put in its place.
    const around = write.find((root) => isWithin(path, root));
    if (around !== undefined) throw neverWritten(around, path);
  }
  for (const name of Object.keys(request.environment)) checkVariable(name);
  return {
    isolation: request.isolation,
    root: resolveRoot(request.root ?? { from: "host" }, workspace, unique([...hide, ...NEVER_GRANTED])),
    files: {
      read: read.filter((path) => !write.includes(path)),
      write,
      hide: unique(hide).filter(opened),
      protect: unique(
        protectedPaths({
          write,
          always: request.ownProtected,
          toMake,
          workspace,
          home: request.home,
          staged,
        }),
      ),
      ...(staged ? { staged } : {}),
    },
    network: { mode: "none" },
    environment: {
      PATH: pathVariable(read),
      HOME: INSIDE.home,
      LANG: "C.UTF-8",
      TERM: "dumb",
      ...request.environment,
    },
    workingDirectory: resolveFolder(request.workingDirectory ?? workspace),
    limits: request.limits,
    treeLimits: request.treeLimits,
  };
}

function resolveGrant(path: string, workspace: string): string {
  const expanded = expand(path, workspace);
  const asked = resolve(workspace, expanded);
  const [real] = realIfPresent(asked);
  if (real === undefined) {
    throw new GateError("ERR_USAGE", `\`${path}\` is granted to the tool and does not exist`, {
      remedy: "make it first, or leave it out of the grant",
    });
  }
  if (real === "/" || NEVER_GRANTED.some((root) => isWithin(real, root))) throw neverGranted(real);
  if (!isAbsolute(path) && !path.startsWith(NODE) && !isWithin(real, workspace)) {
    throw new GateError("ERR_PATH_OUTSIDE", `\`${path}\` leads out of the workspace, to \`${real}\``, {
      remedy: "grant an absolute path if that is meant",
    });
  }
  return real;
}

function resolveFolder(path: string): string {
  const [real] = realIfPresent(path);
  if (real !== undefined && statSync(real).isDirectory()) return real;
  throw new GateError("ERR_USAGE", `there is no folder \`${path}\` to start in`, {
    remedy: "name one that exists",
  });
}

function expand(path: string, workspace: string): string {
  return path.replaceAll("$" + "{workspace}", workspace).replaceAll(NODE, NODE_FOLDER);
}

/** A tool that may read the gate's own Node finds it by name, before any other. */
function pathVariable(read: readonly string[]): string {
  return read.includes(NODE_FOLDER) && NODE_FOLDER !== "/usr"
    ? `${join(NODE_FOLDER, "bin")}:${SYSTEM_PATH}`
    : SYSTEM_PATH;
}

function neverGranted(path: string): GateError {
  return new GateError("ERR_USAGE", `\`${path}\` is never opened to a tool`, {
    remedy: "name the folder inside it that the tool needs",
  });
}

function neverWritten(path: string, own: string): GateError {
  return new GateError(
    "ERR_USAGE",
    `\`${path}\` is never opened for writing: the gate keeps \`${own}\` in it`,
    {
      remedy: "name the folder inside it that the tool has to write",
    },
  );
}

/** Where a path leads, links followed as far as it exists: what is absent now must not appear unhidden later. */
function realAhead(path: string): string {
  for (let known = path, rest = ""; ; rest = join(basename(known), rest), known = dirname(known)) {
    const [real] = realIfPresent(known);
    if (real !== undefined) return join(real, rest);
    if (known === dirname(known)) return path;
  }
}

/** Sockets that processes of this host listen on: a read-only mount does not keep a tool from connecting to one. */
function hostSockets(): readonly string[] {
  const paths = readFileSync("/proc/net/unix", "utf8").matchAll(/ (\/[^\n]*)$/gm);
  return [...paths].flatMap(([, path = ""]) => realIfPresent(path));
}

/** Sockets a profile opens and does not hide: what began to listen after it was made. */
export function exposedSockets({ files }: Profile): readonly string[] {
  const opened = (path: string): boolean =>
    [...files.read, ...files.write].some((root) => isWithin(path, root));
  const hidden = (path: string): boolean => files.hide.some((root) => isWithin(path, root));
  return hostSockets().filter((path) => opened(path) && !hidden(path));
}

function realIfPresent(path: string): string[] {
  try {
    // Most of what is asked for is absent, and an error costs more than a look.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return [];
    return [realpathSync(path)];
  } catch {
    return [];
  }
}

function unique(paths: readonly string[]): string[] {
  return [...new Set(paths)].sort();
}
