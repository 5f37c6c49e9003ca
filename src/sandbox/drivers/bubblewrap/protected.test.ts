import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Profile } from "../../../contract/profile.ts";
import { PROTECTED_NAMES } from "../../protected-names.ts";
import { type Bench, openBench, UNCHECKED } from "../../sandbox.fixture.ts";
import { ROOT_STANDS_BACK } from "../../user.ts";

const isRoot = process.geteuid?.() === 0;

function writing(bench: Bench, write: readonly string[] = ["."]): Profile {
  return bench.profile({ files: { read: ["."], write, hide: [] } });
}

/** Everything below the workspace: kind, mode and content, as a person on the host sees it. */
function snapshot(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return entry.isFile() ? `${path} ${readFileSync(path, "utf8")}` : `${path}/`;
    })
    .sort();
}

/** A repository that belongs to whoever the sandbox runs as. */
function makeRepository(bench: Bench, path = "."): void {
  const folder = join(bench.workspace, path);
  mkdirSync(folder, { recursive: true });
  git(folder, "init", "-q");
  git(folder, "config", "user.name", "t");
  git(folder, "config", "user.email", "t@example.org");
  git(folder, "commit", "-q", "--allow-empty", "-m", "first");
  if (isRoot)
    execFileSync("chown", ["-R", `${ROOT_STANDS_BACK.uid}:${ROOT_STANDS_BACK.gid}`, bench.workspace]);
}

function git(folder: string, ...words: readonly string[]): string {
  const safe = ["-c", "safe.directory=*", "-c", "protocol.file.allow=always"];
  return execFileSync("git", [...safe, ...words], { cwd: folder, encoding: "utf8" });
}

describe("protected paths that are absent", () => {
  test("none can be made, as a file, a folder, a link or by renaming, and nothing is left of any", async () => {
    await using bench = openBench();
    const before = snapshot(bench.workspace);
    const script = `echo x > plain; mkdir folder; for p in "$@"; do
      for way in 'echo x > "$p"' 'mkdir -p "$p" && touch "$p/x"' 'ln -sfT a.txt "$p"' 'mv -fT plain "$p"' \
        'mv -fT folder "$p"' 'rmdir "$p"' 'rm -r "$p"' 'mv "$p" away' 'ln -f plain "$p"' 'chmod 777 "$p"'; do
        eval "$way" 2>/dev/null && echo "$p: $way"; done; done; rm plain; rmdir folder`;
    const { stdout, controls } = await bench.run(["bash", "-c", script, "sh", ...PROTECTED_NAMES], {
      profile: writing(bench),
    });
    assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
    assert.equal(stdout, "");
    assert.deepEqual(snapshot(bench.workspace), before);
  });

  test("every one is in the evidence: one that is undone while the sandbox waits stops the call", async () => {
    await using bench = openBench();
    await using sandbox = await bench.driver.open(writing(bench));
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    const stand = join(bench.workspace, ".github");
    renameSync(stand, `${stand}.moved`);
    assert.match((await sandbox.inspect()).mounts.evidence, /\.github is not mounted/);
    for (const holder of readdirSync(`${stand}.moved`)) rmdirSync(join(`${stand}.moved`, holder));
    rmdirSync(`${stand}.moved`);
  });

  test("two calls at once: the first to end leaves the other's in place", async () => {
    await using bench = openBench();
    await using waiting = await bench.driver.open(writing(bench));
    await bench.run(["true"], { profile: writing(bench) });
    assert.equal((await waiting.inspect()).mounts.state, "enforced");
    const ended = await waiting.release(UNCHECKED, { argv: ["sh", "-c", "! mkdir .github"] });
    assert.equal(ended.outcome === "exited" && ended.exitCode, 0);
    await waiting[Symbol.asyncDispose]();
    assert.ok(!existsSync(join(bench.workspace, ".github")));
  });

  test("git works inside, sees none of them, and neither does git outside meanwhile", async () => {
    await using bench = openBench();
    makeRepository(bench);
    const script = "git add -A && git commit -q -m second && git status --porcelain && git log --format=%s";
    await using sandbox = await bench.driver.open(writing(bench));
    assert.equal(git(bench.workspace, "status", "--porcelain"), "?? a.txt\n");
    await sandbox[Symbol.asyncDispose]();
    const { stdout, stderr } = await bench.run(["sh", "-c", script], { profile: writing(bench) });
    assert.equal(stdout + stderr, "second\nfirst\n");
    assert.equal(git(bench.workspace, "show", "--format=", "--name-only", "HEAD"), "a.txt\n");
  });
});

describe("protected paths of a repository", () => {
  test("commands cannot be planted in it: hooks, configuration, or another place for either", async () => {
    await using bench = openBench();
    makeRepository(bench);
    const before = readFileSync(join(bench.workspace, ".git/config"), "utf8");
    const script = `
      git config core.fsmonitor 'touch planted'; echo '[core]' >> .git/config; rm -f .git/config; mv .git/config .git/c
      printf '#!/bin/sh\\ntouch planted\\n' > .git/hooks/pre-commit; mv .git/hooks .git/h; mv .git .g; rm -rf .git/hooks
      cp -r .git evil; printf '[core]\\nfsmonitor = touch planted\\n' > evil/config
      echo ../evil > .git/commondir; mv -f evil/HEAD .git/commondir; ln -sf ../evil/HEAD .git/commondir
      printf '[core]\\nfsmonitor = touch planted\\n' > .git/config.worktree`;
    await bench.run(["bash", "-c", script], { profile: writing(bench) });
    git(bench.workspace, "status", "--porcelain");
    assert.ok(!existsSync(join(bench.workspace, "planted")));
    assert.equal(readFileSync(join(bench.workspace, ".git/config"), "utf8"), before);
    for (const name of ["commondir", "config.worktree", ".callgate-commondir"])
      assert.ok(!existsSync(join(bench.workspace, ".git", name)), name);
  });

  test("a planted command would have run: the control of the test above", async () => {
    await using bench = openBench();
    makeRepository(bench);
    const evil = join(bench.workspace, "evil");
    cpSync(join(bench.workspace, ".git"), evil, { recursive: true });
    writeFileSync(join(evil, "config"), "[core]\nfsmonitor = touch planted\n");
    writeFileSync(join(bench.workspace, ".git/commondir"), "../evil\n");
    git(bench.workspace, "status", "--porcelain");
    assert.ok(existsSync(join(bench.workspace, "planted")));
  });

  test("a submodule's repository, and the file that leads to it, are covered too", async () => {
    await using bench = openBench();
    makeRepository(bench, "../inner");
    makeRepository(bench);
    git(bench.workspace, "submodule", "--quiet", "add", "../inner", "libs/inner");
    if (isRoot) execFileSync("chown", ["-R", `${ROOT_STANDS_BACK.uid}`, bench.workspace]);
    const link = readFileSync(join(bench.workspace, "libs/inner/.git"), "utf8");
    const script = `echo x > libs/inner/.git; rm -f libs/inner/.git; mv libs/inner away; mv libs gone
      echo x >> .git/modules/libs/inner/config; echo x > .git/modules/libs/inner/hooks/pre-commit
      echo x > .git/modules/libs/inner/commondir; mv .git/modules/libs .git/modules/l`;
    await bench.run(["sh", "-c", script], { profile: writing(bench) });
    assert.equal(readFileSync(join(bench.workspace, "libs/inner/.git"), "utf8"), link);
    assert.doesNotMatch(
      readFileSync(join(bench.workspace, ".git/modules/libs/inner/config"), "utf8"),
      /^x$/m,
    );
    for (const name of ["hooks/pre-commit", "commondir"])
      assert.ok(!existsSync(join(bench.workspace, ".git/modules/libs/inner", name)), name);
  });

  test("a worktree's .git is a file: it cannot be changed", async () => {
    await using bench = openBench();
    writeFileSync(join(bench.workspace, ".git"), "gitdir: /nonexistent\n");
    await bench.run(["sh", "-c", "echo x > .git; rm -f .git; mv .git g; mkdir .git"], {
      profile: writing(bench),
    });
    assert.equal(readFileSync(join(bench.workspace, ".git"), "utf8"), "gitdir: /nonexistent\n");
  });
});

describe("what opens a protected path, and what refuses", () => {
  test("a grant that names it opens it, and nothing else", async () => {
    await using bench = openBench();
    mkdirSync(join(bench.workspace, ".github"));
    if (isRoot) chownSync(join(bench.workspace, ".github"), ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
    const profile = writing(bench, [".", ".github"]);
    await bench.run(["sh", "-c", "echo on > .github/ci.yml; echo x > .mcp.json"], { profile });
    assert.deepEqual(readdirSync(join(bench.workspace, ".github")), ["ci.yml"]);
    assert.ok(!existsSync(join(bench.workspace, ".mcp.json")));
  });

  test("one that is absent can be named to be made, and no other path can", async () => {
    await using bench = openBench();
    const script = "git init -q && git config user.name x && echo x > .git/hooks/pre-commit && mkdir .vscode";
    const profile = writing(bench, [".", ".git"]);
    const { stderr } = await bench.run(["sh", "-c", script], { profile });
    assert.match(stderr, /\.vscode/);
    assert.doesNotMatch(stderr, /\.git/);
    assert.ok(existsSync(join(bench.workspace, ".git/hooks/pre-commit")));
    assert.throws(() => writing(bench, [".", "typo"]), { code: "ERR_USAGE", message: /`typo`/ });
    // Now that it is there, the grant opens it and not what runs by itself in it.
    await bench.run(["sh", "-c", "echo y > .git/hooks/pre-commit; echo y > .git/y"], {
      profile: writing(bench, [".", ".git"]),
    });
    assert.equal(readFileSync(join(bench.workspace, ".git/hooks/pre-commit"), "utf8"), "x\n");
    assert.ok(existsSync(join(bench.workspace, ".git/y")));
  });

  test("what the project lists is not opened by a grant inside of it", async () => {
    await using bench = openBench();
    mkdirSync(join(bench.workspace, "deploy/live"), { recursive: true });
    const request = {
      files: { read: [], write: [".", "deploy/live"], hide: [] },
      ownProtected: [join(bench.workspace, "deploy")],
    };
    assert.throws(() => bench.profile(request), { code: "ERR_USAGE", message: /deploy/ });
  });

  test("a link in its place cannot be covered, so the call is refused by name", async () => {
    await using bench = openBench();
    symlinkSync("a.txt", join(bench.workspace, ".mcp.json"));
    assert.throws(() => writing(bench), {
      code: "ERR_CONTROL_UNAVAILABLE",
      message: /\.mcp\.json` is a link/,
    });
  });

  test("where nothing can stand in for it, the call is refused by name and nothing is left", {
    skip: isRoot ? "root can write every folder" : false,
  }, async () => {
    await using bench = openBench();
    const profile = writing(bench);
    chmodSync(bench.workspace, 0o555);
    await assert.rejects(bench.driver.open(profile), { code: "ERR_CONTROL_UNAVAILABLE", message: /EACCES/ });
    chmodSync(bench.workspace, 0o755);
    assert.deepEqual(readdirSync(bench.workspace), ["a.txt"]);
  });
});
