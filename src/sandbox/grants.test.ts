import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DEFAULT_LIMITS } from "../contract/profile.ts";
import { buildProfile, type ProfileRequest } from "./grants.ts";

const base = mkdtempSync(join(tmpdir(), "callgate-grants-"));
after(() => rmSync(base, { recursive: true }));
const workspace = join(base, "workspace");
const home = join(base, "home");
for (const folder of ["workspace/src", "home/.ssh", "home/.config/gh", "state"])
  mkdirSync(join(base, folder), { recursive: true });
writeFileSync(join(workspace, "callgate.yaml"), "version: 1\n");
symlinkSync("/etc", join(workspace, "escape"));
symlinkSync("src", join(workspace, "inner"));

function build(
  files: Partial<ProfileRequest["files"]>,
  more: Partial<ProfileRequest> = {},
): ReturnType<typeof buildProfile> {
  return buildProfile({
    isolation: "process",
    root: { from: "host" },
    files: { read: [], write: [], hide: [], ...files },
    environment: {},
    workspace,
    limits: DEFAULT_LIMITS,
    treeLimits: false,
    ownHidden: [join(base, "state")],
    ownProtected: [join(workspace, "callgate.yaml")],
    home,
    ...more,
  });
}

test("paths are resolved in the workspace, links followed", () => {
  const { files } = build({ read: ["$" + "{workspace}", "inner"] });
  assert.deepEqual(files.read, [workspace, join(workspace, "src")]);
});

test("a relative grant that leaves the workspace is refused, through a link or by dots", () => {
  for (const path of ["escape", "../home", "src/../../home"]) {
    assert.throws(() => build({ read: [path] }), { code: "ERR_PATH_OUTSIDE" }, path);
    assert.throws(() => build({ write: [path] }), { code: "ERR_PATH_OUTSIDE" }, path);
  }
});

test("a missing path is named", () => {
  assert.throws(() => build({ read: ["nowhere"] }), { code: "ERR_USAGE", message: /`nowhere`/ });
});

test("kernel interfaces and daemons' sockets are never granted, nor the root", () => {
  for (const path of ["/", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm", "/run"]) {
    assert.throws(() => build({ read: [path] }), { code: "ERR_USAGE", message: /never opened/ }, path);
  }
});

test("our own state is hidden under an open parent, and never itself granted", () => {
  assert.deepEqual(build({ read: [base] }).files.hide.includes(join(base, "state")), true);
  assert.throws(() => build({ write: [base] }), { code: "ERR_USAGE", message: /never opened for writing/ });
  // Also where it does not exist yet: a tool would make it.
  const absent = { ownHidden: [join(base, "later/callgate")] };
  assert.throws(() => build({ write: [base] }, absent), { code: "ERR_USAGE" });
  assert.ok(build({ read: [base] }, absent).files.hide.includes(join(base, "later/callgate")));
  assert.throws(() => build({ read: [join(base, "state")] }), { code: "ERR_USAGE" });
  mkdirSync(join(base, "state/inner"), { recursive: true });
  assert.throws(() => build({ write: [join(base, "state/inner")] }), { code: "ERR_USAGE" });
});

test("our own configuration is protected where it is writable, and left out where it is not open", () => {
  assert.ok(build({ write: ["."] }).files.protect.includes(join(workspace, "callgate.yaml")));
  assert.deepEqual(build({ read: ["src"] }).files.protect, []);
});

test("keys in a home that a grant opens are hidden, unless they are granted by name", () => {
  const { hide } = build({ read: [home] }).files;
  assert.ok(hide.includes(join(home, ".ssh")));
  assert.ok(hide.includes(join(home, ".config/gh")));
  assert.ok(!build({ read: [home, join(home, ".ssh")] }).files.hide.includes(join(home, ".ssh")));
});

test("a folder to start in has to be there", () => {
  assert.throws(() => build({}, { workingDirectory: join(workspace, "nowhere") }), { code: "ERR_USAGE" });
  assert.throws(() => build({}, { workingDirectory: join(workspace, "callgate.yaml") }), {
    code: "ERR_USAGE",
  });
});
