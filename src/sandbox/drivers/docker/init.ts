import { execFile } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import { GateError } from "../../../contract/errors.ts";

/** Our own corner of a container: the shell that waits in it, and the folder of its pipes. Read-only. */
const CORNER = "/.callgate";
const LIBRARIES = `${CORNER}/lib`;
const SHELL = `${CORNER}/bash`;
const LOADER = `${CORNER}/loader`;
/** Where the pipes are while a container starts; an empty folder from then on. */
export const CHANNELS_INSIDE: string = `${CORNER}/channels`;

const BASH = "/usr/bin/bash";
/** Where glibc puts its loader. */
const LOADERS: Readonly<Record<string, string>> = {
  x64: "/lib64/ld-linux-x86-64.so.2",
  arm64: "/lib/ld-linux-aarch64.so.1",
};
const LIST_MS_MAX = 5_000;

/** A host file that is bound read-only into every container. */
export interface KitFile {
  readonly source: string;
  readonly point: string;
}

/**
 * The host's bash with its loader and libraries: the launcher is then never a program of the image, which may have no
 * shell at all, and may be as hostile as the tool in it.
 * @throws GateError `ERR_DRIVER_UNAVAILABLE` where there is none to take.
 */
export async function findKit(): Promise<readonly KitFile[]> {
  const loader = LOADERS[process.arch];
  if (!existsSync(BASH) || loader === undefined || !existsSync(loader)) {
    throw new GateError("ERR_DRIVER_UNAVAILABLE", "the launcher needs this host's bash, built for glibc", {
      remedy: "apt-get install bash",
    });
  }
  const options = { env: {}, cwd: "/", timeout: LIST_MS_MAX };
  const { stdout } = await promisify(execFile)(loader, ["--list", BASH], options);
  const libraries = [...stdout.matchAll(/=> (\/\S+) \(0x/g)].map(([, path = ""]) => path);
  return [
    { source: realpathSync(BASH), point: SHELL },
    { source: realpathSync(loader), point: LOADER },
    ...libraries.map((path) => ({ source: realpathSync(path), point: `${LIBRARIES}/${basename(path)}` })),
  ];
}

/** Descriptors of a container's first two processes, as the script below opens them. */
export const INIT_FD = {
  /** Of the launcher: the byte that lets it go. Up goes `FD.control`. */
  go: 4,
  /** Of the first process: how the tool ended; its end of file says that nothing lives any more. */
  end: 6,
  /** Of the first process and its watch: closed when the gateway ends. */
  hold: 7,
} as const;

/**
 * The first process. The Engine hands a container no descriptors, so it opens named pipes, whose names are taken away
 * on the host before a tool is let in; it holds none that a launcher speaks on, since a tool can open `/proc/1/fd`.
 * What it does hold says how the tool ended, which is the tool's own to say. It ends with the gateway, and once it has
 * told of the tool's end it waits to be killed, so that the container's cgroup can still be read.
 */
const INIT = `IO=${CHANNELS_INSIDE}
exec ${INIT_FD.end}>"$IO/end" ${INIT_FD.hold}<"$IO/hold"
(
  exec ${INIT_FD.end}>&- ${INIT_FD.hold}<&- 3>"$IO/up" ${INIT_FD.go}<"$IO/go" 5<"$IO/request" <"$IO/in" >"$IO/out" 2>"$IO/err"
  exec -c "$@"
) &
TOOL=$!
exec </dev/null >/dev/null 2>&1
trap 'exit 137' USR1
{ while read -r -u ${INIT_FD.hold}; do :; done; kill -USR1 1; } &
wait "$TOOL"
printf '%s\\n' $? >&${INIT_FD.end}
wait
`;

const shell = (script: string, name: string): readonly string[] => [
  ...[LOADER, "--library-path", LIBRARIES, SHELL, "--norc", "--noprofile"],
  ...["-c", script, name],
];

/** The container's entry point and its arguments: the first process, and the launcher it starts. */
export function initCommand(launcher: string): {
  readonly entrypoint: readonly string[];
  readonly arguments: readonly string[];
} {
  return { entrypoint: shell(INIT, "init"), arguments: shell(launcher, "launcher") };
}
