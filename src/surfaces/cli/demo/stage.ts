import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { snapshotProject } from "../../../config/snapshot.ts";
import { trustProject } from "../../../config/trust.ts";
import { GateError } from "../../../contract/errors.ts";
import { type LoadedProject, loadProject } from "../../../load-project.ts";
import { type HostUser, sandboxUser } from "../../../sandbox/user.ts";

/** `examples/quickstart` of this package, as deep below it from `src` as from `dist`. */
const EXAMPLE = new URL("../../../../examples/quickstart/", import.meta.url);

export const DECOY = "a decoy: your private key would be here\n";

/** Where the demo plays: a copy of the example, a state folder and a decoy, gone when it is disposed. */
export interface Stage extends Disposable {
  readonly root: string;
  readonly workspace: string;
  readonly stateDir: string;
  /** A file outside the workspace that every user of this machine may read. */
  readonly decoy: string;
  /** Whether it stays. */
  readonly kept: boolean;
  load(): Promise<LoadedProject>;
}

/**
 * Copies the example and trusts the copy, all in a folder of its own. The user's own state is not looked at.
 * @param keep a folder to be made and left there; unset: a temporary one
 */
export function openStage(keep: string | undefined): Stage {
  const root = keep === undefined ? temporaryFolder() : keptFolder(keep);
  const stage: Stage = {
    root,
    workspace: join(root, "ferry"),
    stateDir: join(root, "state"),
    decoy: join(root, "home", ".ssh", "id_rsa"),
    kept: keep !== undefined,
    load: () =>
      loadProject({
        config: join(stage.workspace, "callgate.yaml"),
        state: stage.stateDir,
        workingDirectory: stage.workspace,
      }),
    [Symbol.dispose]: () => {
      if (!stage.kept) rmSync(root, { recursive: true, force: true });
    },
  };
  try {
    copyExample(stage.workspace);
    mkdirSync(dirname(stage.decoy), { recursive: true });
    writeFileSync(stage.decoy, DECOY);
    for (const path of [dirname(dirname(stage.decoy)), dirname(stage.decoy)]) chmodSync(path, 0o755);
    chmodSync(stage.decoy, 0o644);
    trustProject(snapshotProject(stage.workspace, "callgate.yaml"), stage.stateDir);
    return stage;
  } catch (error) {
    rmSync(root, { recursive: true, force: true });
    throw error;
  }
}

/** A sandbox of a gateway that is root runs as somebody else, who has to be able to enter. */
function temporaryFolder(): string {
  const parent = [tmpdir(), "/tmp", "/var/tmp"].find((folder) => existsSync(folder) && canBeEntered(folder));
  if (parent === undefined) {
    throw new GateError("ERR_USAGE", "there is no temporary folder that a sandbox can enter", {
      remedy: "name a folder with `--keep DIR`",
    });
  }
  const root = mkdtempSync(join(realpathSync(parent), "callgate-demo-"));
  chmodSync(root, 0o755);
  return root;
}

function keptFolder(keep: string): string {
  const path = resolve(keep);
  if (existsSync(path)) {
    throw new GateError("ERR_USAGE", `\`${path}\` is there already`, {
      remedy: "name a folder that does not exist yet",
    });
  }
  const parent = dirname(path);
  if (!existsSync(parent) || !canBeEntered(parent)) {
    throw new GateError("ERR_USAGE", `\`${parent}\` is not a folder that a sandbox can enter`, {
      remedy: "name one in /tmp",
    });
  }
  mkdirSync(path);
  chmodSync(path, 0o755);
  return realpathSync(path);
}

function canBeEntered(folder: string): boolean {
  if (process.geteuid?.() !== 0) return true;
  for (let path = realpathSync(folder); ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

function copyExample(workspace: string): void {
  const source = fileURLToPath(EXAMPLE);
  if (!existsSync(join(source, "callgate.yaml"))) {
    throw new GateError("ERR_INTERNAL", `this installation lacks \`${source}\``, {
      remedy: "install callgate again",
    });
  }
  cpSync(source, workspace, {
    recursive: true,
    filter: (path) => !["node_modules", ".git"].includes(basename(path)),
  });
  const user = process.geteuid?.() === 0 ? sandboxUser(workspace) : undefined;
  for (const entry of readdirSync(workspace, { recursive: true, withFileTypes: true })) {
    give(join(entry.parentPath, entry.name), entry.isDirectory(), user);
  }
  give(workspace, true, user);
}

/** Modes as in a fresh checkout, whatever the package manager and the umask made of them. */
function give(path: string, isFolder: boolean, user: HostUser | undefined): void {
  chmodSync(path, isFolder ? 0o755 : 0o644);
  if (user !== undefined) chownSync(path, user.uid, user.gid);
}
