import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostUser } from "../sandbox/user.ts";

/** Secrets a home folder holds, by the paths that are always hidden where a home is opened. */
export const HOME_SECRETS = {
  "ssh-key": ".ssh/id_ed25519",
  aws: ".aws/credentials",
  "github-token": ".config/gh/hosts.yml",
  docker: ".docker/config.json",
  kubernetes: ".kube/config",
  netrc: ".netrc",
  npm: ".npmrc",
  git: ".git-credentials",
  history: ".bash_history",
} as const;

/** What a tool that may write a workspace must not change in it: each is run or obeyed outside the sandbox later. */
export const PROTECTED = [
  ".git/hooks/pre-commit",
  ".git/config",
  ".github/workflows/ci.yml",
  ".vscode/settings.json",
  ".mcp.json",
  "callgate.yaml",
  "callgate.lock",
  ".bashrc",
] as const;

/** What of `PROTECTED` a profile names: folders as a whole. */
const PROTECTED_ROOTS = [
  ".git/hooks",
  ".git/config",
  ".github",
  ".vscode",
  ".mcp.json",
  "callgate.yaml",
  "callgate.lock",
  ".bashrc",
] as const;

/** What every planted file says that is no secret. */
export const PLANTED = "as it was planted\n";

/**
 * A host in small, made for one run and removed after it: a workspace, a home with keys, and a folder that no profile
 * opens. All of it belongs to the user the sandbox has on the host and is open to everybody, so that nothing but the
 * sandbox stands between it and a program.
 */
export interface Scene {
  /** Holds everything below. */
  readonly base: string;
  readonly workspace: string;
  readonly home: string;
  readonly outside: string;
  /** Random; whoever says it has read a planted secret. */
  readonly secret: string;
  readonly user: HostUser;
  /** Paths the profile protects and hides. */
  readonly protect: readonly string[];
  readonly hide: readonly string[];
  /** Writes a file, with the folders it needs, as the scene's owner. */
  plant(path: string, text: string): void;
  /** The same for a program. */
  program(path: string, code: Uint8Array): void;
  folder(path: string): void;
  link(path: string, target: string): void;
  remove(path: string): void;
  [Symbol.dispose](): void;
}

export function makeScene(parent: string, user: HostUser): Scene {
  const base = mkdtempSync(join(parent, "scene-"));
  const secret = `secret-${randomBytes(12).toString("hex")}`;
  const bare = draw(base, secret, user);
  bare.folder(base);
  for (const name of ["workspace", "home", "outside"]) bare.folder(join(base, name));
  for (const path of Object.values(HOME_SECRETS)) bare.plant(join(bare.home, path), `${secret}\n`);
  for (const path of PROTECTED) bare.plant(join(bare.workspace, path), PLANTED);
  bare.plant(join(bare.workspace, "readme.txt"), PLANTED);
  bare.plant(join(bare.workspace, ".env"), `TOKEN=${secret}\n`);
  bare.plant(join(bare.workspace, "private/key"), `${secret}\n`);
  bare.plant(join(bare.outside, "secret.txt"), `${secret}\n`);
  bare.plant(join(bare.outside, "victim.txt"), PLANTED);
  return bare;
}

function draw(base: string, secret: string, user: HostUser): Scene {
  const workspace = join(base, "workspace");
  const own = (path: string): void => {
    if (process.geteuid?.() === 0) chownSync(path, user.uid, user.gid);
  };
  const folder = (path: string): void => {
    const made = mkdirSync(path, { recursive: true });
    // mkdir(2) is subject to the umask, and makes parents too.
    for (let at = path; at.startsWith(base); at = join(at, "..")) {
      chmodSync(at, 0o755);
      own(at);
      if (made === undefined || at === made) break;
    }
  };
  const plant = (path: string, content: string | Uint8Array, mode: number): void => {
    folder(join(path, ".."));
    writeFileSync(path, content);
    chmodSync(path, mode);
    own(path);
  };
  return {
    base,
    workspace,
    home: join(base, "home"),
    outside: join(base, "outside"),
    secret,
    user,
    protect: PROTECTED_ROOTS.map((path) => join(workspace, path)),
    hide: [".env", "private"],
    plant: (path, text) => plant(path, text, 0o644),
    program: (path, code) => plant(path, code, 0o755),
    folder,
    link: (path, target) => symlinkSync(target, path),
    remove: (path) => rmSync(path, { recursive: true, force: true }),
    [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }),
  };
}
