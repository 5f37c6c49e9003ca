import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { GateError } from "../contract/errors.ts";
import { hostFacts } from "./facts.ts";
import { linkFacts } from "./intent.fixture.ts";
import { canonicalPath } from "./workspace-path.ts";

function path(text: string, links: Record<string, string> = {}, workspace = "/work"): string {
  const result = canonicalPath(text, linkFacts(links, workspace));
  return result.ok ? result.path : result.code;
}

test("paths inside become one relative form", () => {
  for (const [given, canonical] of [
    [".", "."],
    ["./", "."],
    ["src", "src"],
    ["src/", "src"],
    ["./src//a.ts", "src/a.ts"],
    ["src/../lib/./x", "lib/x"],
    ["/work", "."],
    ["/work/src/a.ts", "src/a.ts"],
    ["/../work/src", "src"],
    ["~", "~"],
    ["~/x", "~/x"],
    ["-rf", "./-rf"],
    ["./-rf", "./-rf"],
    ["a/-rf", "a/-rf"],
    ["does/not/exist", "does/not/exist"],
    ["a b\nc", "a b\nc"],
    ["..a/b..", "..a/b.."],
  ] as const) {
    assert.equal(path(given), canonical, given);
  }
  assert.equal(path("etc/passwd", {}, "/"), "etc/passwd");
});

test("paths that leave are refused", () => {
  for (const given of [
    "..",
    "../",
    "src/../../x",
    "/",
    "/etc/passwd",
    "/workx/a",
    "/work/../etc",
    "a\0b",
    "x".repeat(5000),
  ]) {
    assert.equal(path(given), "ERR_PATH_OUTSIDE", given);
  }
  assert.equal(path(""), "ERR_INPUT_SCHEMA");
});

test("symlinks are followed at every step, and `..` is taken after them", () => {
  const links = {
    "/work/out": "/etc",
    "/work/in": "src/deep",
    "/work/up": "..",
    "/work/self": "/work/src",
    "/work/loop": "loop",
    "/work/src/deep/back": "../../lib",
    "/work/dangling": "/etc/new-file",
  };
  assert.equal(path("out/passwd", links), "ERR_PATH_OUTSIDE");
  assert.equal(path("in/x", links), "src/deep/x");
  // Not `x`, as joining texts would have it.
  assert.equal(path("in/../x", links), "src/x");
  assert.equal(path("in/back/x", links), "lib/x");
  assert.equal(path("up/x", links), "ERR_PATH_OUTSIDE");
  assert.equal(path("up/work/x", links), "x");
  assert.equal(path("self/x", links), "src/x");
  assert.equal(path("loop", links), "ERR_PATH_OUTSIDE");
  assert.equal(path("dangling", links), "ERR_PATH_OUTSIDE", "the file it would create lies outside");
  assert.equal(path("out/../work/x", links), "x");
});

test("an unreadable folder is refused, since nobody knows where it leads", () => {
  const facts = { workspace: "/work", look: () => ({ kind: "unreadable" as const }) };
  const result = canonicalPath("a/b", facts);
  assert.equal(result.ok ? "" : result.code, "ERR_PATH_OUTSIDE");
});

test("on this machine the facts agree with realpath", () => {
  const base = mkdtempSync(join(tmpdir(), "callgate-path-"));
  try {
    const workspace = join(base, "ws");
    mkdirSync(join(workspace, "src/deep"), { recursive: true });
    writeFileSync(join(workspace, "src/file"), "");
    symlinkSync("src/deep", join(workspace, "in"));
    symlinkSync(base, join(workspace, "out"));
    symlinkSync(join(workspace, "src"), join(workspace, "abs"));
    symlinkSync(workspace, join(base, "alias"));
    const facts = hostFacts(join(base, "alias"));
    const root = realpathSync(workspace);
    assert.equal(facts.workspace, root);
    for (const given of [
      "src/file",
      "in",
      "in/..",
      "abs/file",
      "src/deep/../file",
      "out/ws/src",
      join(root, "in"),
    ]) {
      const result = canonicalPath(given, facts);
      assert.ok(result.ok, given);
      assert.equal(
        join(root, result.path),
        realpathSync.native(given.startsWith("/") ? given : `${root}/${given}`),
        given,
      );
    }
    for (const given of ["out", "in/../../..", "abs/../..", "/proc/self/root/etc"]) {
      assert.equal(canonicalPath(given, facts).ok, false, given);
    }
    const below = canonicalPath("src/file/below/missing", facts);
    assert.deepEqual(below, { ok: true, path: "src/file/below/missing" });
  } finally {
    rmSync(base, { recursive: true });
  }
});

test("a workspace that is not there is bad configuration", () => {
  assert.throws(
    () => hostFacts("/nowhere/at/all"),
    (error) => error instanceof GateError && error.code === "ERR_CONFIG_INVALID",
  );
});

test("property: no result leaves, starts with `-`, or changes when made canonical again", () => {
  const step = fc.constantFrom("..", ".", "", "a", "b", "-x", "~", "out", "in", "up", "/");
  const links = {
    "/work/out": "/etc",
    "/work/in": "a/b",
    "/work/up": "..",
    "/work/a/in": "../b/out",
    "/work/b/up": "../..",
  };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.boolean(), (steps, absolute) => {
      const result = canonicalPath((absolute ? "/work/" : "") + steps.join("/"), linkFacts(links));
      if (!result.ok) return;
      assert.ok(!result.path.startsWith("-") && !result.path.startsWith("/"));
      assert.ok(!result.path.split("/").includes(".."));
      assert.deepEqual(canonicalPath(result.path, linkFacts(links)), result);
    }),
    { numRuns: 3_000 },
  );
});
