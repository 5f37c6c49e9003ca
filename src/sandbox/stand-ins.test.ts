import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { holdStandIns, isAbsent, sweepStandIns } from "./stand-ins.ts";

interface Tree extends Disposable {
  readonly root: string;
  readonly notes: string;
  at(path: string): string;
}

function makeTree(): Tree {
  const base = mkdtempSync(join(tmpdir(), "callgate-stand-ins-"));
  const root = join(base, "tree");
  mkdirSync(join(root, ".git"), { recursive: true });
  return {
    root,
    notes: join(base, "notes"),
    at: (path) => join(root, path),
    [Symbol.dispose]: () => rmSync(base, { recursive: true }),
  };
}

const GIT = [".git/.callgate-commondir", ".git/commondir"];

test("what is absent gets a stand-in for as long as it is held, and nothing is left", () => {
  using tree = makeTree();
  const paths = [".github", ".bashrc", ...GIT].map(tree.at);
  const held = holdStandIns(paths, tree.notes);
  assert.deepEqual(readdirSync(tree.root).sort(), [".bashrc", ".git", ".github"]);
  assert.equal(readFileSync(tree.at(".git/commondir"), "utf8"), ".\n");
  assert.deepEqual([...held.folders].sort(), paths.slice(0, 3).sort());
  assert.ok(paths.every(isAbsent));
  held.release();
  assert.deepEqual(readdirSync(tree.root), [".git"]);
  assert.deepEqual(readdirSync(tree.at(".git")), []);
  assert.deepEqual(readdirSync(tree.notes), []);
});

test("what is there is left alone, an empty folder too", () => {
  using tree = makeTree();
  mkdirSync(tree.at(".vscode"));
  writeFileSync(tree.at(".git/commondir"), "../elsewhere\n");
  const held = holdStandIns([".vscode", ".git/commondir"].map(tree.at), tree.notes);
  assert.equal(held.folders.size, 0);
  held.release();
  assert.ok(existsSync(tree.at(".vscode")));
  assert.equal(readFileSync(tree.at(".git/commondir"), "utf8"), "../elsewhere\n");
});

test("two holders, of two state folders: the last to leave takes it away", () => {
  using tree = makeTree();
  const paths = [".github", ...GIT].map(tree.at);
  const first = holdStandIns(paths, tree.notes);
  const second = holdStandIns(paths, `${tree.notes}-of-another`);
  first.release();
  first.release();
  for (const path of paths) assert.ok(existsSync(path), path);
  second.release();
  for (const path of paths) assert.ok(!existsSync(path), path);
});

test("a file that a person puts there meanwhile stays, in an ordinary folder", () => {
  using tree = makeTree();
  const held = holdStandIns([tree.at(".github")], tree.notes);
  writeFileSync(tree.at(".github/ci.yml"), "on: push\n");
  assert.ok(!isAbsent(tree.at(".github")));
  held.release();
  assert.deepEqual(readdirSync(tree.at(".github")), ["ci.yml"]);
  assert.equal(statSync(tree.at(".github")).mode & 0o7777, 0o755);
  assert.ok(!isAbsent(tree.at(".github")));
});

test("where none can be made the path is named, and nothing is left", () => {
  using tree = makeTree();
  mkdirSync(`${tree.root}-other`);
  symlinkSync(`${tree.root}-other`, tree.at("link"));
  const paths = [".github", "link/.bashrc"].map(tree.at);
  assert.throws(() => holdStandIns(paths, tree.notes), {
    code: "ERR_CONTROL_UNAVAILABLE",
    message: /link\/\.bashrc/,
  });
  assert.deepEqual(readdirSync(tree.root).sort(), [".git", "link"]);
  assert.deepEqual(readdirSync(`${tree.root}-other`), []);
  assert.deepEqual(readdirSync(tree.notes), []);
});

test("another user's stand-in cannot be joined, and is named", {
  skip: process.geteuid?.() === 0 ? false : "only root makes another user's",
}, () => {
  using tree = makeTree();
  const held = holdStandIns([tree.at(".github")], tree.notes);
  chmodSync(dirname(tree.root), 0o755);
  process.seteuid?.(65_533);
  try {
    assert.throws(() => isAbsent(tree.at(".github")), {
      code: "ERR_CONTROL_UNAVAILABLE",
      message: /\.github/,
    });
  } finally {
    process.seteuid?.(0);
  }
  held.release();
  assert.deepEqual(readdirSync(tree.root), [".git"]);
});

test("a process that stopped while it took a stand-in away holds up a newcomer no longer than the bound", () => {
  using tree = makeTree();
  mkdirSync(tree.at(".git/.callgate-commondir/.callgate-0123456789abcdef-closing"), { recursive: true });
  chmodSync(tree.at(".git/.callgate-commondir"), 0o1700);
  const paths = GIT.map(tree.at);
  assert.throws(() => holdStandIns(paths, tree.notes), {
    code: "ERR_CONTROL_UNAVAILABLE",
    message: /let go/,
  });
  assert.ok(!existsSync(tree.at(".git/commondir")));
});

test("what a gateway that was killed has left, the next takes away, and not what another still holds", async () => {
  using tree = makeTree();
  const paths = [".github", ...GIT].map(tree.at);
  const script = `import { holdStandIns } from ${JSON.stringify(new URL("./stand-ins.ts", import.meta.url).href)};
    holdStandIns(JSON.parse(process.argv[1]), process.argv[2]); process.kill(process.pid, "SIGKILL");`;
  const words = ["--input-type=module", "-e", script, JSON.stringify(paths), tree.notes];
  const child = spawn(process.execPath, words, { stdio: "inherit" });
  assert.deepEqual(await once(child, "exit"), [null, "SIGKILL"]);
  assert.equal(readdirSync(tree.at(".github")).length, 1);
  const living = holdStandIns(paths.slice(0, 1), tree.notes);
  sweepStandIns(tree.notes);
  assert.equal(readdirSync(tree.at(".github")).length, 1);
  assert.ok(!existsSync(tree.at(".git/commondir")));
  living.release();
  assert.deepEqual(readdirSync(tree.root), [".git"]);
});

test("processes that come and go at once never take it from under one another", async () => {
  using tree = makeTree();
  const paths = [".github", ...GIT].map(tree.at);
  // Each looks, as long as it holds them, whether they are still there.
  const script = `import { existsSync } from "node:fs";
    import { holdStandIns } from ${JSON.stringify(new URL("./stand-ins.ts", import.meta.url).href)};
    const paths = JSON.parse(process.argv[1]);
    for (let i = 0; i < 150; i += 1) {
      const held = holdStandIns(paths, process.argv[2]);
      for (let j = 0; j < 20; j += 1) if (!paths.every((path) => existsSync(path))) process.exit(1);
      held.release();
    }`;
  const words = ["--input-type=module", "-e", script, JSON.stringify(paths), tree.notes];
  const children = [0, 1, 2].map(() => spawn(process.execPath, words, { stdio: "inherit" }));
  const exits = await Promise.all(children.map((child) => once(child, "exit")));
  assert.deepEqual(
    exits.map(([code]) => code),
    [0, 0, 0],
  );
  assert.deepEqual(readdirSync(tree.root), [".git"]);
  assert.deepEqual(readdirSync(tree.at(".git")), []);
});
