import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { refuses } from "./gate-error.fixture.ts";
import { checkStateOutside, findWorkspace, type WorkspaceInputs } from "./workspace.ts";

let root = "";
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "callgate-workspace-")));
});
afterEach(() => rmSync(root, { recursive: true }));

function folder(path: string): string {
  mkdirSync(join(root, path), { recursive: true });
  return join(root, path);
}
const config = (path: string): void => writeFileSync(join(root, path, "callgate.yaml"), "version: 1\n");
const uid = process.getuid?.() ?? 0;
const find = (path: string, change: Partial<WorkspaceInputs> = {}) =>
  findWorkspace({ workingDirectory: join(root, path), home: undefined, uid, ...change });

describe("findWorkspace", () => {
  it("takes the nearest configuration at or above the working folder", () => {
    folder("a/b/c");
    config("a");
    assert.deepEqual(find("a/b/c"), { root: join(root, "a"), config: "callgate.yaml" });
    config("a/b");
    assert.deepEqual(find("a/b/c"), { root: join(root, "a/b"), config: "callgate.yaml" });
  });

  it("takes the working folder where there is none", () => {
    folder("a");
    assert.deepEqual(find("a"), { root: join(root, "a"), config: undefined });
  });

  it("resolves links in the working folder", () => {
    folder("a");
    symlinkSync("a", join(root, "link"));
    assert.equal(find("link").root, join(root, "a"));
  });

  it("stops below the home folder", () => {
    folder("home/a");
    config("home");
    config(".");
    const home = join(root, "home");
    assert.deepEqual(find("home/a", { home }), { root: join(home, "a"), config: undefined });
    assert.deepEqual(find("home", { home }), { root: home, config: undefined });
    assert.equal(find("home/a").root, home);
  });

  it("does not take a folder for a configuration", () => {
    folder("a/callgate.yaml");
    assert.equal(find("a").config, undefined);
  });

  it("takes the file that was named, from the working folder", () => {
    folder("a/b");
    writeFileSync(join(root, "a/ci.yaml"), "version: 1\n");
    assert.deepEqual(find("a/b", { config: "../ci.yaml" }), { root: join(root, "a"), config: "ci.yaml" });
  });

  it("refuses a named file that is not there", () => {
    folder("a");
    const at = join(root, "a/nowhere.yaml");
    refuses(() => find("a", { config: "nowhere.yaml" }), {
      code: "ERR_CONFIG_NOT_FOUND",
      message: /there is no file/,
      at,
    });
    refuses(() => find("a", { config: "." }), { code: "ERR_CONFIG_NOT_FOUND", message: /there is no file/ });
  });

  it("refuses a configuration above that belongs to another user", { skip: uid !== 0 }, () => {
    folder("shared/mine");
    config("shared");
    const at = join(root, "shared/callgate.yaml");
    chownSync(at, 12345, 12345);
    refuses(() => find("shared/mine"), {
      code: "ERR_CONFIG_UNTRUSTED",
      message: /belongs to another user/,
      at,
      remedy: /--config/,
    });
    // Whoever enters that user's own folder means it.
    chownSync(join(root, "shared/mine"), 12345, 12345);
    assert.equal(find("shared/mine").root, join(root, "shared"));
  });

  const canMount = spawnSync("unshare", ["-rm", "true"]).status === 0;
  it("does not cross into another file system", {
    skip: canMount ? false : "no mount namespaces here",
  }, () => {
    folder("a/mounted");
    config("a");
    const look = `
      const { findWorkspace } = await import(${JSON.stringify(join(import.meta.dirname, "workspace.ts"))});
      console.log(findWorkspace({ workingDirectory: process.argv[1], uid: 0 }).root);
    `;
    const script =
      'mount -t tmpfs none "$1" && mkdir "$1/sub" && exec "$2" --input-type=module -e "$3" "$1/sub"';
    const args = ["-rm", "sh", "-c", script, "sh", join(root, "a/mounted"), process.execPath, look];
    assert.equal(execFileSync("unshare", args, { encoding: "utf8" }).trim(), join(root, "a/mounted/sub"));
  });
});

describe("checkStateOutside", () => {
  it("takes a state folder beside the workspace, existing or not", () => {
    folder("project");
    assert.equal(
      checkStateOutside(join(root, "state/deep"), join(root, "project")),
      join(root, "state/deep"),
    );
    folder("state");
    assert.equal(checkStateOutside(join(root, "state"), join(root, "project")), join(root, "state"));
  });

  const inside = {
    code: "ERR_STATE_PERMISSIONS",
    message: /inside the workspace/,
    remedy: /--state/,
  } as const;

  it("refuses one inside the workspace, and the workspace itself", () => {
    const project = folder("project");
    refuses(() => checkStateOutside(join(project, "state/deep"), project), inside);
    refuses(() => checkStateOutside(project, project), inside);
  });

  it("refuses one that is inside through a link, even one that does not exist yet", () => {
    const project = folder("project/sub");
    symlinkSync("project", join(root, "link"));
    refuses(() => checkStateOutside(join(root, "link/sub/state"), join(root, "project")), inside);
    symlinkSync(join(root, "project"), join(root, "link2"));
    refuses(() => checkStateOutside(join(root, "link2"), project.slice(0, -4)), inside);
  });

  it("refuses a broken link, whose target someone could make later", () => {
    folder("project");
    symlinkSync(join(root, "project/later"), join(root, "state"));
    const expected = { code: "ERR_STATE_UNWRITABLE", message: /broken link/ } as const;
    refuses(() => checkStateOutside(join(root, "state/callgate"), join(root, "project")), expected);
  });

  it("refuses a workspace inside the state folder", () => {
    folder("state/project");
    const expected = { code: "ERR_STATE_PERMISSIONS", message: /inside the state folder/ } as const;
    refuses(() => checkStateOutside(join(root, "state"), join(root, "state/project")), expected);
  });
});
