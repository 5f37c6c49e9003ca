import { type StdioOptions, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostUser } from "../sandbox/user.ts";
import { NETWORK } from "./network.ts";
import type { Outside, Seen } from "./probe.ts";
import type { Scene } from "./scene.ts";

/** How long a program may run outside; every one ends by itself before. */
const OUTSIDE_MS_MAX = 20_000;

/** What a program is run with that nothing confines: what the gate has, and where a tool would start. */
export function outsideEnvironment(scene: Scene): Record<string, string | undefined> {
  return { ...process.env, HOME: scene.home, TMPDIR: scene.outside, LANG: "C.UTF-8", TERM: "dumb" };
}

/** The argument vector of a control; `argv` itself where it runs as the gate does. */
export function outsideArgv(
  outside: Outside,
  argv: readonly string[],
  { user, secret }: Pick<Scene, "user" | "secret">,
): readonly string[] {
  const isRoot = process.geteuid?.() === 0;
  switch (outside) {
    case "plain":
      return argv;
    case "user":
      return isRoot ? [...stepBack(user), ...argv] : argv;
    case "mapped": {
      const root = isRoot ? [] : ["--user", "--map-root-user"];
      return ["unshare", ...root, "--mount", "--uts", "--propagation", "private", "--", ...argv];
    }
    case "network":
      return ["/usr/bin/perl", "-e", NETWORK, secret, ...argv];
    default:
      return outside satisfies never;
  }
}

function stepBack({ uid, gid }: HostUser): readonly string[] {
  return ["setpriv", "--reuid", `${uid}`, "--regid", `${gid}`, "--clear-groups", "--"];
}

/** Where a program inherits what its stage says: above what Node and the drivers use, which would lie over it. */
const INHERITED_FD = 47;

/** A child's descriptors, with one more that it should not have. */
export function inheriting(three: readonly ("pipe" | "ignore" | number)[], fd: number): StdioOptions {
  const stdio: ("pipe" | "ignore" | number)[] = [...three];
  while (stdio.length < INHERITED_FD) stdio.push("ignore");
  return [...stdio, fd];
}

/** Runs a program as anybody would who has no gate. What it writes goes to files: a program may outlive the run. */
export async function runOutside(
  argv: readonly string[],
  scene: Scene,
  { stdin, inherits }: { readonly stdin?: Uint8Array; readonly inherits?: string } = {},
): Promise<Seen> {
  const paths = [join(scene.base, "stdout"), join(scene.base, "stderr")] as const;
  const [stdout, stderr] = [openSync(paths[0], "w+"), openSync(paths[1], "w+")];
  const inherited = inherits === undefined ? undefined : openSync(inherits, "r");
  const [program = "", ...args] = argv;
  const begun = performance.now();
  const child = spawn(program, args, {
    cwd: scene.workspace,
    env: outsideEnvironment(scene),
    stdio:
      inherited === undefined ? ["pipe", stdout, stderr] : inheriting(["pipe", stdout, stderr], inherited),
    detached: true,
    timeout: OUTSIDE_MS_MAX,
    killSignal: "SIGKILL",
  });
  for (const fd of [stdout, stderr, ...(inherited === undefined ? [] : [inherited])]) closeSync(fd);
  child.stdin?.on("error", () => undefined); // it may end without reading
  child.stdin?.end(stdin ?? "");
  const ending = await new Promise<Seen["ending"]>((done) => {
    child.on("error", (error) => done({ kind: "unstarted", why: error.message }));
    child.on("exit", (code, signal) => done({ kind: "exited", exitCode: code ?? 128, signal }));
  });
  const wallMs = performance.now() - begun;
  return { ending, stdout: readFileSync(paths[0]), stderr: readFileSync(paths[1]), wallMs };
}
