import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs, {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { DEFAULT_SETTINGS } from "./defaults.ts";
import { refuses } from "./gate-error.fixture.ts";
import { openProject } from "./project.ts";
import { PROJECT_FILES_MAX, snapshotProject } from "./snapshot.ts";
import { readTrust, trustProject } from "./trust.ts";

let base = "";
let root = "";
let state = "";
const CONFIG = "version: 1\ncatalog: [tools/*.yaml]\nsandbox: { isolation: gvisor }\n";

function put(path: string, text: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "callgate-trust-")));
  root = join(base, "project");
  state = join(base, "state");
  put("callgate.yaml", CONFIG);
  put("tools/a.yaml", "name: a\n");
  put("tools/b.yaml", "name: b\n");
  put("policies/p.cedar", "permit(principal, action, resource);\n");
  put("policies/tests/p.yaml", "[]\n");
  put("policies/README.md", "not a policy\n");
  put("callgate.lock", "{}\n");
});
afterEach(() => rmSync(base, { recursive: true }));

const snapshot = () => snapshotProject(root, "callgate.yaml");
const trust = () => readTrust(snapshot(), state);
const as = process.getuid?.() ?? 0;

describe("snapshotProject", () => {
  it("reads the configuration and everything it names", () => {
    const { files, manifests, policies, policyTests, lock, settings } = snapshot();
    assert.deepEqual([...files.keys()].sort(), [
      "callgate.lock",
      "callgate.yaml",
      "policies/p.cedar",
      "policies/tests/p.yaml",
      "tools/a.yaml",
      "tools/b.yaml",
    ]);
    assert.deepEqual(manifests, ["tools/a.yaml", "tools/b.yaml"]);
    assert.deepEqual(policies, ["policies/p.cedar"]);
    assert.deepEqual(policyTests, ["policies/tests/p.yaml"]);
    assert.equal(lock, "callgate.lock");
    assert.equal(settings.sandbox.isolation, "gvisor");
  });

  it("has another digest when a byte or a name changes", () => {
    const { digest } = snapshot();
    assert.equal(snapshot().digest, digest);
    put("tools/a.yaml", "name: a \n");
    assert.notEqual(snapshot().digest, digest);
    put("tools/a.yaml", "name: a\n");
    assert.equal(snapshot().digest, digest);
    // The order of the names stays.
    renameSync(join(root, "tools/a.yaml"), join(root, "tools/aa.yaml"));
    assert.notEqual(snapshot().digest, digest);
  });

  it("keeps what it read, whatever happens to the files", () => {
    const before = snapshot();
    put("tools/a.yaml", "name: evil\n");
    put("callgate.yaml", "version: 1\n");
    assert.equal(before.files.get("tools/a.yaml"), "name: a\n");
    assert.equal(before.settings.sandbox.isolation, "gvisor");
  });

  it("follows a link that stays in the project", () => {
    put("shared/c.yaml", "name: c\n");
    symlinkSync("../shared/c.yaml", join(root, "tools/c.yaml"));
    assert.equal(snapshot().files.get("tools/c.yaml"), "name: c\n");
  });

  const leaves = (at: string) =>
    ({ code: "ERR_CONFIG_INVALID", message: /a link that leaves the project/, at }) as const;

  it("refuses links that leave the project: a file, a folder, the policies, the lock, the configuration", () => {
    mkdirSync(join(base, "outside/tests"), { recursive: true });
    writeFileSync(join(base, "outside/x.yaml"), CONFIG);
    writeFileSync(join(base, "outside/x.cedar"), "");
    symlinkSync(join(base, "outside/x.yaml"), join(root, "tools/x.yaml"));
    refuses(snapshot, leaves("tools/x.yaml"));
    rmSync(join(root, "tools/x.yaml"));
    symlinkSync(join(base, "outside"), join(root, "linked"));
    put("callgate.yaml", "version: 1\ncatalog: [linked/*.yaml]\n");
    refuses(snapshot, leaves("linked/x.yaml"));
    put("callgate.yaml", "version: 1\npolicies: linked\n");
    refuses(snapshot, leaves("linked"));
    put("callgate.yaml", CONFIG);
    rmSync(join(root, "callgate.lock"));
    symlinkSync(join(base, "outside/x.yaml"), join(root, "callgate.lock"));
    refuses(snapshot, leaves("callgate.lock"));
    rmSync(join(root, "callgate.yaml"));
    symlinkSync(join(base, "outside/x.yaml"), join(root, "callgate.yaml"));
    refuses(snapshot, leaves("callgate.yaml"));
  });

  it("refuses what is no regular file, without waiting for it", () => {
    execFileSync("mkfifo", [join(root, "tools/f.yaml")]);
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /not a regular file/, at: "tools/f.yaml" });
  });

  /** Runs `act` so that `swap` happens between the moment a path is resolved and the moment it is opened. */
  function racing(swap: () => void, act: () => void): void {
    const { openSync } = fs;
    fs.openSync = (...args) => {
      fs.openSync = openSync;
      syncBuiltinESMExports();
      swap();
      return openSync(...args);
    };
    syncBuiltinESMExports();
    try {
      act();
    } finally {
      fs.openSync = openSync;
      syncBuiltinESMExports();
    }
  }

  it("refuses a folder that becomes a link while it is read", () => {
    put("callgate.yaml", "version: 1\n");
    mkdirSync(join(base, "outside"));
    writeFileSync(join(base, "outside/callgate.yaml"), "version: 1\n");
    const swap = () => {
      renameSync(root, join(base, "moved"));
      symlinkSync("outside", root);
    };
    racing(swap, () => refuses(snapshot, leaves("callgate.yaml")));
  });

  it("refuses a file that becomes a link while it is read", () => {
    const swap = () => {
      rmSync(join(root, "callgate.yaml"));
      symlinkSync("tools/a.yaml", join(root, "callgate.yaml"));
    };
    racing(swap, () =>
      refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /cannot be read \(ELOOP\)/ }),
    );
  });

  it("refuses a link that leads in a circle", () => {
    symlinkSync("l.yaml", join(root, "tools/l.yaml"));
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /cannot be read \(ELOOP\)/ });
  });

  it("refuses a broken link, a file too large, and one that is not UTF-8", () => {
    symlinkSync("nowhere", join(root, "tools/z.yaml"));
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /broken link/, at: "tools/z.yaml" });
    rmSync(join(root, "tools/z.yaml"));
    put("tools/z.yaml", "#".repeat(1024 * 1024 + 1));
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /larger than 1 MiB/, at: "tools/z.yaml" });
    put("tools/z.yaml", new Uint8Array([0x61, 0xff]));
    refuses(snapshot, { code: "ERR_CONFIG_SYNTAX", message: /not UTF-8/, at: "tools/z.yaml" });
  });

  it("tells a byte order mark from none", () => {
    const { digest } = snapshot();
    put("tools/a.yaml", "\ufeffname: a\n");
    assert.notEqual(snapshot().digest, digest);
  });

  it("refuses a literal name that is not there, and bounds how many files there are", () => {
    put("callgate.yaml", "version: 1\ncatalog: [tools/missing.yaml]\n");
    refuses(snapshot, {
      code: "ERR_CONFIG_NOT_FOUND",
      message: /`tools\/missing.yaml`/,
      at: "callgate.yaml",
    });
    put("callgate.yaml", "version: 1\npolicies: rules\n");
    refuses(snapshot, { code: "ERR_CONFIG_NOT_FOUND", message: /no folder `rules`/, at: "callgate.yaml" });
    put("callgate.yaml", CONFIG);
    for (let index = 0; index < PROJECT_FILES_MAX; index += 1) put(`tools/n${index}.yaml`, "");
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /more than 1000 files/, at: "callgate.yaml" });
  });

  it("bounds the bytes of all files together", () => {
    for (let index = 0; index < 17; index += 1) put(`tools/n${index}.yaml`, "#".repeat(1024 * 1024));
    refuses(snapshot, { code: "ERR_CONFIG_INVALID", message: /larger than 16 MiB together/ });
  });

  it("searches no packages and no repository", () => {
    for (const folder of ["node_modules/p", ".git/p", "src/p"]) put(`${folder}/tool.yaml`, "");
    put("callgate.yaml", "version: 1\ncatalog: ['**/tool.yaml']\n");
    assert.deepEqual(snapshot().manifests, ["src/p/tool.yaml"]);
  });

  it("does without policies, tools and a lock", () => {
    for (const path of ["policies", "tools", "callgate.lock"]) rmSync(join(root, path), { recursive: true });
    assert.deepEqual([...snapshot().files.keys()], ["callgate.yaml"]);
  });
});

describe("trust", () => {
  it("is untrusted at first, and shows what would be pinned", () => {
    const { state: found, changes } = trust();
    assert.equal(found, "untrusted");
    assert.equal(changes.length, 6);
    assert.ok(changes.every(({ kind }) => kind === "added"));
  });

  it("pins what was read, in a file of one's own", () => {
    trustProject(snapshot(), state);
    assert.deepEqual(trust(), { state: "trusted", changes: [] });
    assert.equal(statSync(join(state, "trust.json")).mode & 0o777, 0o600);
    assert.equal(statSync(state).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(state), ["trust.json"]);
  });

  it("pins the snapshot, not what the files have become since", () => {
    const shown = snapshot();
    put("tools/a.yaml", "name: evil\n");
    trustProject(shown, state);
    assert.equal(trust().state, "changed");
  });

  it("shows what was added, removed and changed since", () => {
    trustProject(snapshot(), state);
    put("tools/c.yaml", "name: c\n");
    rmSync(join(root, "policies/p.cedar"));
    put("tools/a.yaml", "name: a\ntier: low\n");
    const { state: found, changes } = trust();
    assert.equal(found, "changed");
    assert.deepEqual(
      changes.map(({ path, kind }) => `${kind} ${path}`),
      ["removed policies/p.cedar", "changed tools/a.yaml", "added tools/c.yaml"],
    );
    assert.equal(
      changes[1]?.diff,
      "--- a/tools/a.yaml\n+++ b/tools/a.yaml\n@@ -1,1 +1,2 @@\n name: a\n+tier: low\n",
    );
  });

  it("needs trust again for a lock or a policy that appears", () => {
    rmSync(join(root, "callgate.lock"));
    trustProject(snapshot(), state);
    put("callgate.lock", "{}\n");
    assert.equal(trust().state, "changed");
    rmSync(join(root, "callgate.lock"));
    put("policies/q.cedar", "");
    assert.equal(trust().state, "changed");
  });

  it("keeps projects apart, by real path and by configuration", () => {
    trustProject(snapshot(), state, 1);
    put("ci.yaml", CONFIG);
    assert.equal(readTrust(snapshotProject(root, "ci.yaml"), state).state, "untrusted");
    const copy = join(base, "copy");
    execFileSync("cp", ["-a", root, copy]);
    assert.equal(readTrust(snapshotProject(copy, "callgate.yaml"), state).state, "untrusted");
    trustProject(snapshotProject(copy, "callgate.yaml"), state, 2);
    assert.equal(trust().state, "trusted");
    const { projects } = JSON.parse(readFileSync(join(state, "trust.json"), "utf8")) as {
      projects: { project: string }[];
    };
    assert.deepEqual(
      projects.map(({ project }) => project),
      [join(root, "callgate.yaml"), join(copy, "callgate.yaml")],
    );
  });

  it("believes no pin that others could have written", () => {
    trustProject(snapshot(), state);
    const writable = {
      code: "ERR_STATE_PERMISSIONS",
      message: /can be written by others/,
      remedy: /chmod/,
    } as const;
    chmodSync(join(state, "trust.json"), 0o620);
    refuses(trust, writable);
    chmodSync(join(state, "trust.json"), 0o600);
    chmodSync(state, 0o777);
    refuses(trust, writable);
  });

  it("believes no pin that another user owns", { skip: as !== 0 }, () => {
    trustProject(snapshot(), state);
    chownSync(join(state, "trust.json"), 12345, 12345);
    refuses(trust, { code: "ERR_STATE_PERMISSIONS", message: /can be written by others/ });
  });

  it("takes a damaged file for damaged, never for trust, and never writes over it", () => {
    trustProject(snapshot(), state);
    const damaged = { code: "ERR_STATE_CORRUPT", message: /cannot be read/ } as const;
    for (const text of [
      "",
      "{",
      "null",
      "[]",
      '{"version":1}',
      '{"version":1,"projects":[{"project":"x"}]}',
      '{"version":1,"projects":[],"more":1}',
    ]) {
      writeFileSync(join(state, "trust.json"), text);
      refuses(trust, damaged);
      refuses(() => trustProject(snapshot(), state), damaged);
    }
    writeFileSync(join(state, "trust.json"), '{"version":2}');
    refuses(trust, { code: "ERR_STATE_NEWER", message: /newer version/ });
  });

  it("says changed when the digest is not of the texts beside it", () => {
    trustProject(snapshot(), state);
    const path = join(state, "trust.json");
    writeFileSync(path, readFileSync(path, "utf8").replace(/sha256:[0-9a-f]{8}/, "sha256:00000000"));
    assert.equal(trust().state, "changed");
    trustProject(snapshot(), state);
    writeFileSync(path, readFileSync(path, "utf8").replace("name: a", "name: c"));
    assert.equal(trust().state, "changed");
  });

  it("says so when the state folder cannot be written", () => {
    writeFileSync(state, "a file where the folder should be");
    refuses(() => trustProject(snapshot(), join(state, "deep")), {
      code: "ERR_STATE_PERMISSIONS",
      message: /cannot be read/,
    });
    rmSync(state);
    mkdirSync(join(state, "trust.json"), { recursive: true, mode: 0o700 });
    refuses(() => trustProject(snapshot(), state), { code: "ERR_STATE_CORRUPT", message: /cannot be read/ });
    refuses(() => trustProject(snapshot(), "/proc/callgate"), {
      code: "ERR_STATE_UNWRITABLE",
      message: /cannot be written/,
    });
  });
});

describe("openProject", () => {
  const open = () => openProject({ root, config: "callgate.yaml" }, state);

  it("applies built-in defaults where there is no configuration", async () => {
    const project = await openProject({ root, config: undefined }, state);
    assert.deepEqual(project.settings, DEFAULT_SETTINGS);
    assert.equal(project.trust, undefined);
    assert.equal(project.manifests.size + project.policies.size, 0);
  });

  it("takes no tool, policy or lock from a project nobody trusted", async () => {
    const project = await open();
    assert.equal(project.trust?.state, "untrusted");
    assert.equal(project.manifests.size + project.policies.size + project.policyTests.size, 0);
    assert.equal(project.lock, undefined);
    assert.equal(project.settings.sandbox.isolation, "gvisor");
    assert.ok(project.ignored.some(({ key }) => key === "catalog"));
  });

  it("hands out the texts that were compared, once trusted", async () => {
    trustProject(snapshot(), state);
    const project = await open();
    assert.equal(project.trust?.state, "trusted");
    assert.deepEqual(
      [...project.manifests],
      [
        ["tools/a.yaml", "name: a\n"],
        ["tools/b.yaml", "name: b\n"],
      ],
    );
    assert.deepEqual([...project.policies.keys()], ["policies/p.cedar"]);
    assert.equal(project.lock, "{}\n");
    assert.deepEqual(project.ignored, []);
  });

  it("is inert again as soon as anything changed", async () => {
    trustProject(snapshot(), state);
    put("policies/p.cedar", "permit(principal, action, resource);\n\n");
    const project = await open();
    assert.equal(project.trust?.state, "changed");
    assert.equal(project.manifests.size + project.policies.size, 0);
  });
});
