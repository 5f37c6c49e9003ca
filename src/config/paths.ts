import { homedir, userInfo } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

/** What the folders are derived from. Everything but `home` comes from the gate's own process. */
export interface PathInputs {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where relative values of `--state` and `$CALLGATE_STATE` start. */
  readonly workingDirectory: string;
  /** The user's home; undefined for a service account that has none. */
  readonly home: string | undefined;
  readonly uid: number;
  /** `--state`. */
  readonly state?: string | undefined;
}

/** The gate's own folders. None need exist yet. All are absolute and none is in a project. */
export interface GatePaths {
  /** The log, keys, sessions and pins; 0700. */
  readonly stateDir: string;
  /** Credentials' sources, approvers, organisation policy; the first one found wins. */
  readonly configDirs: readonly string[];
  /** Sockets and FIFOs; 0700, empty after a restart. */
  readonly runtimeDir: string;
}

/** Homes that system accounts are given so that they have none. */
const NO_HOMES: ReadonlySet<string> = new Set([
  "/",
  "/nonexistent",
  "/var/empty",
  "/dev/null",
  "/run",
  "/bin",
  "/sbin",
]);

export const SYSTEM_STATE_DIR = "/var/lib/callgate";
export const SYSTEM_CONFIG_DIR = "/etc/callgate";
export const SYSTEM_RUNTIME_DIR = "/run/callgate";

function homeOf(environment: PathInputs["environment"]): string | undefined {
  const home = environment["HOME"] ?? homeOfAccount();
  return home === undefined || !isAbsolute(home) || NO_HOMES.has(resolve(home)) ? undefined : resolve(home);
}

function homeOfAccount(): string | undefined {
  try {
    // With HOME unset this reads the password file, which need not know the user (a container's bare uid).
    return homedir();
  } catch {
    return undefined;
  }
}

function uidOf(): number {
  return process.getuid?.() ?? userInfo().uid;
}

/** The inputs of this process. `state` is the value of `--state`. */
export function processPathInputs(state?: string): PathInputs {
  return {
    environment: process.env,
    workingDirectory: process.cwd(),
    home: homeOf(process.env),
    uid: uidOf(),
    state,
  };
}

/** A relative path in an XDG variable is to be ignored (XDG base directory specification, "Basics"). */
function xdg(inputs: PathInputs, variable: string): string | undefined {
  const value = inputs.environment[variable];
  return value !== undefined && isAbsolute(value) ? join(resolve(value), "callgate") : undefined;
}

function stateDirOf(inputs: PathInputs): string {
  const named = inputs.state || inputs.environment["CALLGATE_STATE"];
  if (named) return resolve(inputs.workingDirectory, named);
  const underHome = inputs.home === undefined ? undefined : join(inputs.home, ".local/state/callgate");
  return xdg(inputs, "XDG_STATE_HOME") ?? underHome ?? SYSTEM_STATE_DIR;
}

function configDirsOf(inputs: PathInputs): string[] {
  const underHome = inputs.home === undefined ? undefined : join(inputs.home, ".config/callgate");
  const own = xdg(inputs, "XDG_CONFIG_HOME") ?? underHome;
  return own === undefined ? [SYSTEM_CONFIG_DIR] : [own, SYSTEM_CONFIG_DIR];
}

/**
 * Where the gate keeps what is its own: `--state`, `$CALLGATE_STATE`, the XDG folders, and for an account without
 * a home `/var/lib/callgate`, `/etc/callgate` and `/run/callgate`.
 */
export function gatePaths(inputs: PathInputs): GatePaths {
  const stateDir = stateDirOf(inputs);
  // Without a runtime folder of the session the state folder serves: it is private, unlike `/tmp`.
  const ownRuntime = inputs.home === undefined ? SYSTEM_RUNTIME_DIR : join(stateDir, "run");
  return {
    stateDir,
    configDirs: configDirsOf(inputs),
    runtimeDir: xdg(inputs, "XDG_RUNTIME_DIR") ?? ownRuntime,
  };
}
