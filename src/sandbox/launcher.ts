import { GateError } from "../contract/errors.ts";
import type { Rlimit, RlimitName } from "./limits/rlimit.ts";
import { CANARY_PID } from "./seccomp/canary.ts";

/** Descriptors of a sandbox's first program, as the gateway hands them over. */
export const FD = {
  /** A socket: the canary's answer and an `R` line come up when the launcher is confined, one byte goes down to let it go. */
  control: 3,
  /** bubblewrap's `--info-fd`; closed by it. */
  info: 4,
  /** A file without a name: variables and arguments, NUL-terminated, written at release. */
  request: 5,
  /** The seccomp program; closed by bubblewrap. */
  seccomp: 6,
  /** The first of the small files that bubblewrap copies in. */
  data: 7,
  /** The first of the files that are known only when a sandbox is built. */
  late: 48,
} as const;

/** A file that no Landlock rule names: it can be opened before the rules hold, and not after. */
export const LANDLOCK_TRIAL = "/run/landlock-trial";

/** What Landlock lets the tool reach, folders and files by their paths inside. */
export interface LandlockRules {
  /** Listed, not read. */
  readonly list: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Devices and `/proc`: opened for writing, nothing made in them. */
  readonly devices: readonly string[];
}

export interface LauncherFacts {
  /** Where the native launcher is found inside; unset: bash serves, without Landlock. */
  readonly native?: string;
  /**
   * Native only: it is a namespace's first process, so it reaps and says how the tool ended. `late`: the tool's process
   * is made when it is let in, and until then there is one process to look at.
   */
  readonly init?: "early" | "late";
  /** Native only: it reports what it finds inside, where the host cannot look. */
  readonly reports?: boolean;
  readonly rlimits: readonly Rlimit[];
  readonly landlock: LandlockRules;
}

/** The command that a sandbox is built around: `native/launch.c` where it was built, else bash. */
export function launcherCommand({
  native,
  init,
  reports,
  rlimits,
  landlock,
}: LauncherFacts): readonly string[] {
  if (native === undefined) {
    return ["/usr/bin/bash", "--norc", "--noprofile", "-c", LAUNCHER, "launcher", ...rlimits.flatMap(ulimit)];
  }
  const rules = (option: string, paths: readonly string[]): string[] =>
    paths.flatMap((path) => [option, path]);
  return [
    native,
    ...(init === undefined ? [] : [init === "early" ? "-i" : "-f"]),
    ...(reports === true ? ["-p"] : []),
    ...rlimits.flatMap(({ name, soft, hard }) => ["-l", `${RESOURCES[name].number}`, `${soft}`, `${hard}`]),
    ...["-c", `${CANARY_PID}`, "-t", LANDLOCK_TRIAL],
    ...rules("-s", landlock.list),
    ...rules("-r", landlock.read),
    ...rules("-w", landlock.write),
    ...rules("-d", landlock.devices),
  ];
}

/**
 * A process that waits outside to become what builds a sandbox: one byte on the control socket, then from the request
 * file a uid, a gid (or `-` twice: it stays who it is), a user and a network namespace to join (or `-` twice), files to
 * open (their number; descriptor and path of each) and a command.
 */
export function waitingCommand(native: string | undefined): readonly string[] {
  if (native !== undefined) return [native, "wait"];
  return ["/usr/bin/bash", "--norc", "--noprofile", "-c", WAITING];
}

const WAITING = `shopt -s execfail
read -r -N 1 -u 3 go || exit 126
mapfile -d '' -u 5 words
set -- "\${words[@]}"
uid=$1 gid=$2 user=$3 net=$4 files=$5
shift 5
while ((files-- > 0)); do eval "exec $1<\\"\\$2\\"" || exit 126; shift 2; done
[[ $net == - ]] || set -- /usr/bin/nsenter "--user=$user" "--net=$net" --preserve-credentials -- "$@"
[[ $uid == - ]] || set -- /usr/bin/setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
exec -- "$@"
printf 'E%s\n' $? >&3
exit 126
`;

/** setrlimit(2)'s numbers, the same on x86-64 and arm64, and bash's letter and unit for each. */
const RESOURCES: Readonly<Record<RlimitName, { number: number; letter: string; unit: number }>> = {
  cpu: { number: 0, letter: "t", unit: 1 },
  fileSize: { number: 1, letter: "f", unit: 1024 },
  data: { number: 2, letter: "d", unit: 1024 },
  core: { number: 4, letter: "c", unit: 1024 },
  processes: { number: 6, letter: "u", unit: 1 },
  openFiles: { number: 7, letter: "n", unit: 1 },
};

function ulimit({ name, soft, hard }: Rlimit): string[] {
  const { letter, unit } = RESOURCES[name];
  return [`-S${letter}`, `${Math.ceil(soft / unit)}`, `-H${letter}`, `${Math.ceil(hard / unit)}`];
}

/**
 * The launcher, for bash 5: set the rlimits, try the canary, say so, wait, read the request, close every descriptor
 * but the three, start the tool. A program that cannot be started is told apart from one that exits 127 by the `E`
 * on the control socket, which the tool itself never holds. The request comes in a file because bash reads a socket
 * byte by byte (65 ms for 100 kB); its first two entries count the variables and the arguments, and a request that is
 * not whole starts nothing.
 *
 * INVARIANT: no variable of a tool has a name that means something here: `checkVariable` refuses them.
 */
export const LAUNCHER: string = bashLauncher(FD.control);

/** The same where the byte that lets it go comes on a descriptor of its own: named pipes go one way. */
export function bashLauncher(go: number): string {
  return `shopt -s execfail
while (($#)); do ulimit "$1" "$2" || { printf 'L%s\\n' "$1" >&3; exit 126; }; shift 2; done
LC_ALL=C
kill -0 ${CANARY_PID} 2>&3
printf 'R\\n' >&3
read -r -N 1 -u ${go} CALLGATE_GO || exit 126
mapfile -d '' -u 5 CALLGATE_REQUEST
set -- "\${CALLGATE_REQUEST[@]}"
if (($# < 3 || $# != $1 + $2 + 2)); then printf 'E126\\n' >&3; exit 126; fi
unset LC_ALL OLDPWD CALLGATE_GO CALLGATE_REQUEST
export -n PWD SHLVL
CALLGATE_LEFT=$1
shift 2
while ((CALLGATE_LEFT-- > 0)); do export "$1"; shift; done
for CALLGATE_FD in /proc/self/fd/*; do
  CALLGATE_FD=\${CALLGATE_FD##*/}
  ((CALLGATE_FD > 3)) && eval "exec $CALLGATE_FD>&-"
done
{ exec -- "$@"; } 3>&-
printf 'E%s\\n' $? >&3
exit 126
`;
}

/** Names that bash sets or reads itself, or that this launcher uses: a tool cannot be given them. */
const RESERVED =
  /^(?:BASH.*|CALLGATE_.*|COMP_.*|DIRSTACK|EPOCH.*|EUID|FUNCNAME|GROUPS|HIST.*|IFS|LINENO|MAPFILE|OLDPWD|OPT(?:ARG|ERR|IND)|PIPESTATUS|POSIXLY_CORRECT|PPID|PWD|RANDOM|READLINE_.*|REPLY|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|_)$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** @throws GateError `ERR_USAGE` for a variable that cannot be handed to a tool. */
export function checkVariable(name: string): void {
  if (VARIABLE.test(name) && !RESERVED.test(name)) return;
  throw new GateError("ERR_USAGE", `the variable \`${name}\` cannot be given to a tool`, {
    remedy: "choose another name: the launcher's shell keeps this one to itself",
  });
}

/** What is written to the request file. @throws GateError `ERR_USAGE`, see `checkVariable`. */
export function encodeRequest(
  environment: Readonly<Record<string, string>>,
  argv: readonly string[],
): Buffer<ArrayBuffer> {
  for (const name of Object.keys(environment)) checkVariable(name);
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const parts = [String(variables.length), String(argv.length), ...variables, ...argv];
  return Buffer.from(parts.map((part) => `${part}\0`).join(""), "utf8");
}
