import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Changes } from "../../contract/changes.ts";
import type { Execution } from "../../contract/execution.ts";
import {
  changeAll,
  contents,
  openStagedBench,
  type StagedBench,
  SUCCESS,
  snapshot,
} from "./staged.fixture.ts";

/** Stages, changes the copy, and settles. */
async function attempt(
  bench: StagedBench,
  change: (copy: string) => void,
  options: {
    readonly execution?: Execution;
    readonly protect?: readonly string[];
    readonly meanwhile?: () => void;
  } = {},
): Promise<Changes> {
  await using staged = await bench.stage(options.protect);
  change(staged.copyOf(bench.tree));
  options.meanwhile?.();
  const changes = await staged.settle(options.execution ?? SUCCESS);
  staged.finish();
  return changes;
}

describe("a change set", () => {
  test("every kind of change is listed with its digest, applied, and nothing else is touched", async () => {
    using bench = openStagedBench();
    const kept = snapshot(bench.tree).filter((line) => /^keep\.txt/.test(line));
    const wanted = `${bench.tree}-wanted`;
    execFileSync("cp", ["-a", bench.tree, wanted]);
    changeAll(wanted);
    const changes = await attempt(bench, changeAll);
    assert.equal(changes.state, "applied", changes.reason ?? "");
    assert.deepEqual(contents(bench.tree), contents(wanted));
    assert.deepEqual(
      snapshot(bench.tree).filter((line) => /^keep\.txt/.test(line)),
      kept,
    );
    const short = changes.paths.map(
      ({ path, change, kind }) => `${change} ${kind} ${path.slice(bench.tree.length + 1)}`,
    );
    assert.deepEqual(short.sort(), [
      "added file new/inner/file.txt",
      "added folder new",
      "added folder new/inner",
      "added link new/link",
      "changed file edit.txt",
      "changed file run.sh",
      "changed file turn",
      "changed folder mode",
      "changed link link",
      "deleted file gone.txt",
      "deleted file old/deep/file.txt",
      "deleted file old/other.txt",
      "deleted file turn/inner.txt",
      "deleted folder old",
      "deleted folder old/deep",
    ]);
    const made = changes.paths.find(({ path }) => path.endsWith("new/inner/file.txt"));
    assert.equal(made?.digest, "sha256:9ccbd3f1b19a1cdfd8d7c6ae48e9e822e2345f5be1a6187b19e41486c6941004");
    assert.equal(made?.bytes, 5);
    assert.deepEqual(readdirSync(join(bench.folder, "notes")), []);
    assert.deepEqual(readdirSync(bench.folder), ["notes"]);
  });

  for (const [name, execution] of [
    ["exits with another code", { ...SUCCESS, exitCode: 1 }],
    ["is killed", { outcome: "killed", killedBy: "wall" }],
    ["never starts", { outcome: "unstarted", code: "ERR_COMMAND_START", message: "" }],
  ] as const) {
    test(`a tool that ${name} changes nothing, and what it did is listed`, async () => {
      using bench = openStagedBench();
      const before = snapshot(bench.tree);
      const changes = await attempt(bench, changeAll, { execution: execution as Execution });
      assert.equal(changes.state, "discarded");
      assert.equal(changes.count, 15);
      assert.deepEqual(snapshot(bench.tree), before);
    });
  }
});

describe("refused as a whole, by name", () => {
  const cases: readonly [string, (copy: string) => void, RegExp][] = [
    ["a pipe", (copy) => execFileSync("mkfifo", [join(copy, "p")]), /tree\/p` is a device, a pipe/],
    ["a set-id bit", (copy) => chmodSync(join(copy, "run.sh"), 0o4755), /run\.sh` has a set-id bit/],
    ["a protected file", (copy) => writeFileSync(join(copy, ".mcp.json"), "{}"), /\.mcp\.json` is protected/],
    ["another spelling of it", (copy) => mkdirSync(join(copy, ".GitHub")), /\.GitHub` is protected/],
    ["a link in its place", (copy) => symlinkSync("x", join(copy, ".github")), /\.github` is protected/],
    [
      "a link where a folder on the way would be",
      (copy) => symlinkSync("x", join(copy, ".git")),
      /\.git` is/,
    ],
    [
      "a link where the way to a protected path would be",
      (copy) => symlinkSync("x", join(copy, "conf")),
      /conf` is/,
    ],
    [
      "a repository's configuration, at any depth",
      (copy) => execFileSync("git", ["init", "-q", join(copy, "old/deep")]),
      /old\/deep\/\.git\/\w+` is protected/,
    ],
    ["a name that is not UTF-8", (copy) => writeFileSync(Buffer.from(`${copy}/\xff`, "latin1"), ""), /UTF-8/],
    ["what its owner cannot read", (copy) => chmodSync(join(copy, "run.sh"), 0), /run\.sh` cannot be read/],
  ];
  for (const [name, change, reason] of cases) {
    test(name, async () => {
      using bench = openStagedBench();
      const before = snapshot(bench.tree);
      const changes = await attempt(
        bench,
        (copy) => {
          writeFileSync(join(copy, "fine.txt"), "");
          change(copy);
        },
        { protect: [".mcp.json", ".github", ".git/hooks", "conf/live"].map(bench.at) },
      );
      assert.equal(changes.state, "refused");
      assert.match(changes.reason ?? "", reason);
      assert.deepEqual(snapshot(bench.tree), before);
    });
  }
});

describe("a tree that changed meanwhile is a conflict, and nothing is applied", () => {
  const cases: readonly [string, (bench: StagedBench) => void, RegExp][] = [
    [
      "a file that was edited too",
      ({ at }) => appendFileSync(at("edit.txt"), "mine\n"),
      /edit\.txt` has changed/,
    ],
    ["one that was replaced", ({ at }) => replace(at("edit.txt")), /edit\.txt` has changed/],
    ["one that appeared where one is added", ({ at }) => mkdirSync(at("new")), /new` has changed/],
    ["one inside of a folder that goes", ({ at }) => writeFileSync(at("old/mine"), ""), /old\/mine` is new/],
    [
      "an edit inside of a folder that goes",
      ({ at }) => appendFileSync(at("old/deep/file.txt"), "x"),
      /file\.txt`/,
    ],
    ["a mode", ({ at }) => chmodSync(at("mode"), 0o711), /mode` has changed/],
  ];
  for (const [name, meanwhile, reason] of cases) {
    test(name, async () => {
      using bench = openStagedBench();
      let before: readonly string[] = [];
      const changes = await attempt(bench, changeAll, {
        meanwhile: () => {
          meanwhile(bench);
          before = snapshot(bench.tree);
        },
      });
      assert.equal(changes.state, "conflict");
      assert.match(changes.reason ?? "", reason);
      assert.deepEqual(snapshot(bench.tree), before);
    });
  }

  test("a folder on the way that became a link is not followed", async () => {
    using bench = openStagedBench();
    const outside = `${bench.tree}-outside`;
    const changes = await attempt(bench, (copy) => writeFileSync(join(copy, "old/deep/x"), "x"), {
      meanwhile: () => {
        renameSync(bench.at("old"), outside);
        symlinkSync(outside, bench.at("old"));
      },
    });
    assert.equal(changes.state, "conflict");
    assert.ok(!existsSync(join(outside, "deep/x")));
  });
});

describe("what a copy keeps, and what it does not", () => {
  test("times are kept, set-id bits are not, links are not followed, a hard link becomes a file of its own", async () => {
    using bench = openStagedBench();
    symlinkSync("/etc/passwd", bench.at("out"));
    linkSync(bench.at("keep.txt"), bench.at("twin.txt"));
    chmodSync(bench.at("run.sh"), 0o4755);
    await using staged = await bench.stage();
    const copy = staged.copyOf(bench.tree);
    assert.equal(statSync(join(copy, "edit.txt")).mtimeMs, statSync(bench.at("edit.txt")).mtimeMs);
    assert.equal(statSync(join(copy, "run.sh")).mode & 0o7777, 0o755);
    appendFileSync(join(copy, "twin.txt"), "more\n");
    const changes = await staged.settle(SUCCESS);
    staged.finish();
    assert.deepEqual(
      changes.paths.map(({ path }) => path),
      [bench.at("twin.txt")],
    );
    assert.equal(readFileSync(bench.at("keep.txt"), "utf8"), "kept\n");
  });

  test("what the copy is of is named where it cannot be made, and nothing is left", async () => {
    using bench = openStagedBench();
    writeFileSync(Buffer.from(`${bench.tree}/\xff`, "latin1"), "");
    await assert.rejects(bench.stage(), { code: "ERR_CHANGES_REFUSED" });
    assert.deepEqual(readdirSync(bench.folder), ["notes"]);
  });
});

function replace(path: string): void {
  rmSync(path);
  writeFileSync(path, "before\n");
}
