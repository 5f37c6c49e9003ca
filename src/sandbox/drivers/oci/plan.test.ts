import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DEFAULT_LIMITS, type Profile } from "../../../contract/profile.ts";
import { hostRoot, plannedFiles } from "../../mounts.ts";
import { INSIDE } from "../../user.ts";
import { loadedLabel } from "./label.ts";
import { type PlanFacts, planOci } from "./plan.ts";
import { RUNTIME_NAMES, RUNTIMES } from "./runtimes.ts";

const PROFILE: Profile = {
  isolation: "process",
  root: { from: "host" },
  files: {
    read: ["/srv/app"],
    write: ["/srv/app/build"],
    hide: ["/srv/app/.env", "/srv/app/keys", "/srv/app/gone"],
    protect: ["/srv/app/build/callgate.yaml", "/srv/app/build/.github"],
  },
  network: { mode: "none" },
  environment: { PATH: "/usr/bin" },
  workingDirectory: "/srv/app",
  limits: DEFAULT_LIMITS,
  treeLimits: false,
};

const HOST = {
  system: ["/usr"],
  links: [["/bin", "usr/bin"]],
  etcFolders: [["/etc/ssl/certs", "/usr/share/certs"]],
  etcFiles: ["/etc/localtime"],
} as const;

function facts(name: (typeof RUNTIME_NAMES)[number]): PlanFacts {
  return {
    runtime: RUNTIMES[name],
    base: hostRoot(HOST),
    files: plannedFiles(HOST),
    kindOf: (path) => (path.endsWith("gone") ? "absent" : path.endsWith("keys") ? "dir" : "file"),
    standIns: new Set(["/srv/app/build/.github"]),
    enforced: new Set(["memory", "processes", "cpu"]),
    inside: INSIDE,
    ownerOf: (path) => (path.startsWith("/srv") ? { uid: 0, gid: 0 } : undefined),
    seccomp: { defaultAction: "SCMP_ACT_ERRNO", syscalls: [] },
    launcher: "/opt/launch",
    label: name === "runc" ? "callgate" : undefined,
  };
}

/** Set CALLGATE_GOLDEN=write to accept a change of the plan after reading it. */
for (const name of RUNTIME_NAMES) {
  test(`a profile with everything in it, for ${name}`, () => {
    const file = new URL(`./plan-${name}.golden.json`, import.meta.url);
    const seen = {
      command: RUNTIMES[name].command(`/usr/bin/${name}`, { writes: true, joinsNetwork: false }),
      ...planOci(PROFILE, facts(name)),
    };
    if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(file, `${JSON.stringify(seen, null, 2)}\n`);
    assert.deepEqual(JSON.parse(JSON.stringify(seen)), JSON.parse(readFileSync(file, "utf8")));
  });
}

test("no container has a capability, a network, a device or a namespace of the host", () => {
  for (const name of RUNTIME_NAMES) {
    const text = JSON.stringify(planOci(PROFILE, facts(name)).config);
    assert.doesNotMatch(text, /CAP_|"devices"|"path":"\/proc\/|"hooks"|"rootfsPropagation"/, name);
    for (const type of ["pid", "mount", "network", "ipc", "uts", "cgroup"])
      assert.ok(text.includes(`{"type":"${type}"}`), `${name} ${type}`);
    assert.match(text, /"noNewPrivileges":true/);
  }
});

test("what a gofer serves for writing is never reached past it", () => {
  assert.ok(
    RUNTIMES.runsc.command("runsc", { writes: true, joinsNetwork: false }).includes("--directfs=false"),
  );
  assert.ok(RUNTIMES.runsc.command("runsc", { writes: true, joinsNetwork: false }).includes("--oci-seccomp"));
});

test("a label is asked for only where the kernel has it loaded for enforcement", () => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-label-"));
  const path = join(folder, "profiles");
  try {
    assert.equal(loadedLabel(path), undefined);
    writeFileSync(path, "callgate (complain)\nother (enforce)\n");
    assert.equal(loadedLabel(path), undefined);
    writeFileSync(path, "other (enforce)\ncallgate (enforce)\n");
    assert.equal(loadedLabel(path), "callgate");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
