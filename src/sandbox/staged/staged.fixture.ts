import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Execution, Exited } from "../../contract/execution.ts";
import { newCallId } from "../../contract/ids.ts";
import type { Profile } from "../../contract/profile.ts";
import { type StagedWrites, stageWrites } from "./staged.ts";

const USER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

/** A tree, and a folder for what is staged of it. */
export interface StagedBench extends Disposable {
  readonly tree: string;
  readonly folder: string;
  readonly call: ReturnType<typeof newCallId>;
  at(path: string): string;
  stage(protect?: readonly string[]): Promise<StagedWrites>;
}

/** What `change` does to the copy here, a tool does in its sandbox. */
export const SUCCESS: Execution = { outcome: "exited", exitCode: 0, signal: null } as Exited;

export function openStagedBench(): StagedBench {
  const base = mkdtempSync(join(tmpdir(), "callgate-staged-"));
  const tree = join(base, "tree");
  const folder = join(base, "staged");
  mkdirSync(folder, { mode: 0o700 });
  const call = newCallId();
  fill(tree);
  return {
    tree,
    folder,
    call,
    at: (path) => join(tree, path),
    stage: (protect = []) => stageWrites(profileOf(tree, protect), { folder, user: USER, call }),
    [Symbol.dispose]: () => rmSync(base, { recursive: true }),
  };
}

function profileOf(tree: string, protect: readonly string[]): Profile {
  return { files: { read: [], write: [tree], hide: [], protect, staged: true } } as unknown as Profile;
}

/** Something of every kind, and under each something that stays. */
function fill(tree: string): void {
  const files = {
    "keep.txt": "kept\n",
    "edit.txt": "before\n",
    "gone.txt": "gone\n",
    "old/deep/file.txt": "deep\n",
    "old/other.txt": "other\n",
    "turn/inner.txt": "inner\n",
    "run.sh": "#!/bin/sh\n",
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), text, { mode: 0o644 });
  }
  symlinkSync("keep.txt", join(tree, "link"));
  mkdirSync(join(tree, "mode"), { mode: 0o755 });
}

/** A change of every kind. */
export function changeAll(copy: string): void {
  const at = (path: string): string => join(copy, path);
  writeFileSync(at("edit.txt"), "after\n");
  writeFileSync(at("keep.txt"), "kept\n"); // written, and not changed
  rmSync(at("gone.txt"));
  rmSync(at("old"), { recursive: true });
  mkdirSync(at("new/inner"), { recursive: true });
  writeFileSync(at("new/inner/file.txt"), "made\n");
  symlinkSync("../keep.txt", at("new/link"));
  rmSync(at("link"));
  symlinkSync("edit.txt", at("link"));
  rmSync(at("turn"), { recursive: true });
  writeFileSync(at("turn"), "a file now\n");
  chmodSync(at("run.sh"), 0o755);
  chmodSync(at("mode"), 0o500);
}

/** Everything that could differ: kinds, modes, contents, links, and of files the inode and the time too. */
export function snapshot(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const path = join(folder, name);
      const entry = lstatSync(path);
      const held = entry.isFile()
        ? readFileSync(path, "utf8")
        : entry.isSymbolicLink()
          ? readlinkSync(path)
          : "";
      const times = entry.isDirectory() ? "" : String(entry.mtimeMs);
      return [name, entry.mode.toString(8), entry.ino, times, held].join(" ");
    });
}

/** As `snapshot`, without what tells one file from another of the same content. */
export function contents(folder: string): readonly string[] {
  return snapshot(folder).map((line) => line.replace(/^(\S+ \d+) \d+ [\d.]*/, "$1"));
}
