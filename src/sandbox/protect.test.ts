import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { protectedPaths, SUBMODULES_MAX } from "./protect.ts";

const base = mkdtempSync(join(tmpdir(), "callgate-protect-"));
after(() => rmSync(base, { recursive: true }));

function paths(
  root: string,
  more: { readonly toMake?: readonly string[]; readonly staged?: boolean } = {},
): string[] {
  const request = {
    write: [root],
    always: [],
    toMake: [],
    workspace: root,
    home: "/nonexistent",
    staged: false,
    ...more,
  };
  return protectedPaths(request).map((path) => path.slice(root.length + 1));
}

test("what is missing on the way stands for all that would be in it", () => {
  const root = join(base, "bare");
  mkdirSync(root);
  assert.deepEqual(
    [...new Set(paths(root).filter((path) => path.startsWith(".git/") || path === ".git"))],
    [".git"],
  );
  assert.ok(!paths(root, { toMake: [join(root, ".git")] }).includes(".git"));
  // In a private copy they are names to refuse, each for itself.
  assert.ok(paths(root, { staged: true }).includes(".git/hooks"));
});

test("a workspace inside of a writable folder is looked at as well as that folder", () => {
  const root = join(base, "outer");
  const workspace = join(root, "work");
  mkdirSync(workspace, { recursive: true });
  const found = protectedPaths({
    write: [root],
    always: [],
    toMake: [],
    workspace,
    home: "/nonexistent",
    staged: false,
  });
  for (const path of [join(root, ".envrc"), join(workspace, ".envrc")]) assert.ok(found.includes(path), path);
});

test("in a folder inside of the workspace only what is there is protected, unless it is a repository or a home", () => {
  const workspace = join(base, "around");
  const root = join(workspace, "dist");
  mkdirSync(join(root, ".vscode"), { recursive: true });
  const found = (home = "/nonexistent"): readonly string[] =>
    protectedPaths({ write: [root], always: [], toMake: [], workspace, home, staged: false });
  assert.deepEqual(found(), [join(root, ".vscode")]);
  assert.ok(found(root).includes(join(root, ".bashrc")));
  mkdirSync(join(root, ".git"));
  assert.ok(found().includes(join(root, ".git/hooks")));
  assert.ok(found().includes(join(root, ".envrc")));
});

test("a repository with more submodules than are looked at is refused by name", () => {
  const root = join(base, "many");
  for (let index = 0; index <= SUBMODULES_MAX; index += 1) {
    const folder = join(root, `.git/modules/group/${index}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "HEAD"), "");
  }
  assert.throws(() => paths(root), { code: "ERR_USAGE", message: /more than 256 submodules/ });
  rmSync(join(root, ".git/modules/group/0"), { recursive: true });
  assert.ok(paths(root).includes(".git/modules/group/1/hooks"));
});
