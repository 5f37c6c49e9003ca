import { CANARY_PID } from "./seccomp/canary.ts";

/** Descriptors of a sandbox's first program, as the gateway hands them over. */
export const FD = {
  /** A socket: the canary's answer and an `R` line come up when the launcher is confined, one byte goes down to let it go. */
  control: 3,
  /** bubblewrap's `--info-fd`; closed by it. */
  info: 4,
  /** A file without a name: environment and argument vector, NUL-separated, written at release. */
  request: 5,
  /** The seccomp program; closed by bubblewrap. */
  seccomp: 6,
  /** The first of the small files that bubblewrap copies in. */
  data: 7,
} as const;

/**
 * The launcher, for bash 5: set the rlimits, try the canary, say so, wait, read the request, close every descriptor
 * but the three, start the tool. A program that cannot be started is told apart from one that exits 127 by the `E`
 * on the control socket, which the tool itself never holds. The request comes in a file because bash reads a socket
 * byte by byte (65 ms for 100 kB).
 */
export const LAUNCHER: string = `shopt -s execfail
while (($#)); do ulimit "$1" "$2" || { printf 'L%s\\n' "$1" >&3; exit 126; }; shift 2; done
LC_ALL=C
kill -0 ${CANARY_PID} 2>&3
printf 'R\\n' >&3
read -r -N 1 -u 3 go || exit 126
mapfile -d '' -u 5 m
unset LC_ALL OLDPWD
export -n PWD SHLVL
n=$((m[0]))
for ((i = 1; i <= n; i++)); do export "\${m[i]}"; done
for f in /proc/self/fd/*; do f=\${f##*/}; ((f > 3)) && eval "exec $f>&-"; done
{ exec -- "\${m[@]:n+1}"; } 3>&-
printf 'E%s\\n' $? >&3
exit 126
`;

/** What is written to the request file. */
export function encodeRequest(
  environment: Readonly<Record<string, string>>,
  argv: readonly string[],
): Buffer<ArrayBuffer> {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return Buffer.from(
    [String(variables.length), ...variables, ...argv].map((part) => `${part}\0`).join(""),
    "utf8",
  );
}
