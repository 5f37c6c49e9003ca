import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { unifiedDiff, visible } from "./unified-diff.ts";

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `line ${index}`);

describe("unifiedDiff", () => {
  it("is empty where nothing changed", () => assert.equal(unifiedDiff("a", "x\n", "x\n"), ""));

  it("shows three lines around each change, and joins hunks that meet", () => {
    const before = numbered(30);
    const after = before.with(5, "FIVE").with(9, "NINE").toSpliced(25, 1);
    const diff = unifiedDiff("a", `${before.join("\n")}\n`, `${after.join("\n")}\n`);
    assert.deepEqual(
      diff.split("\n").filter((line) => line.startsWith("@@")),
      ["@@ -3,11 +3,11 @@", "@@ -23,7 +23,6 @@"],
    );
    assert.match(diff, /-line 5\n\+FIVE\n/);
  });

  it("names a file that is not there", () => {
    assert.equal(unifiedDiff("a", undefined, "x\n"), "--- /dev/null\n+++ b/a\n@@ -0,0 +1,1 @@\n+x\n");
    assert.equal(unifiedDiff("a", "x\n", undefined), "--- a/a\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n");
  });

  it("shows that a line break at the end is missing", () => {
    assert.match(unifiedDiff("a", "x\n", "x"), /\+\\ no line break at the end/);
  });

  it("writes out what a reader would not see", () => {
    const diff = unifiedDiff("a\u001b]", "a\n", "a\u202eb\u200b\u001b[2K\r\n");
    assert.doesNotMatch(diff, /[\u202e\u200b\u001b\r]/);
    assert.match(diff, /\+a\\u\{202e\}b\\u\{200b\}\\u\{1b\}\[2K\\u\{d\}/);
    assert.equal(visible("tab\tand ünïcödé 😀"), "tab\tand ünïcödé 😀");
    assert.equal(visible("\u{e0041}"), "\\u{e0041}");
  });

  it("stays bounded where everything changed", () => {
    const startedMs = performance.now();
    const diff = unifiedDiff(
      "a",
      numbered(20_000).join("\n"),
      numbered(20_000)
        .map((line) => `${line}!`)
        .join("\n"),
    );
    assert.equal(diff.split("\n").filter((line) => line.startsWith("-line")).length, 20_000);
    assert.ok(performance.now() - startedMs < 10_000);
  });

  const hasPatch = spawnSync("patch", ["--version"]).status === 0;
  it("makes `patch` turn the one text into the other", { skip: hasPatch ? false : "no `patch` here" }, () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-diff-"));
    const text = fc
      .array(fc.constantFrom("a", "b", "c", "dd"), { maxLength: 30 })
      .map((lines) => lines.map((line) => `${line}\n`).join(""));
    try {
      fc.assert(
        fc.property(text, text, (before, after) => {
          fc.pre(before !== "" && after !== "" && before !== after);
          writeFileSync(join(folder, "x"), before);
          execFileSync("patch", ["-s", "-p1", "-F0"], {
            cwd: folder,
            input: unifiedDiff("x", before, after),
          });
          assert.equal(readFileSync(join(folder, "x"), "utf8"), after);
        }),
        { numRuns: 60 },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
