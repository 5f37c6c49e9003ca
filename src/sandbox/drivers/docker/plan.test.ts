import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { DEFAULT_LIMITS, type Profile } from "../../../contract/profile.ts";
import { type PlanFacts, planContainer } from "./plan.ts";

const FILES: Profile["files"] = { read: [], write: [], hide: [], protect: [] };

function profile(files: Partial<Profile["files"]> = {}): Profile {
  return {
    isolation: "container",
    root: { from: "host" },
    files: { ...FILES, ...files },
    network: { mode: "none" },
    environment: { PATH: "/usr/bin" },
    workingDirectory: "/w",
    limits: DEFAULT_LIMITS,
    treeLimits: true,
  };
}

const FACTS: PlanFacts = {
  image: { id: "sha256:1", variables: ["LD_PRELOAD"], volumes: ["/data"] },
  kit: [{ source: "/usr/bin/bash", point: "/.callgate/bash" }],
  channels: "/state/cell-1",
  files: [{ source: "/state/passwd", point: "/etc/passwd" }],
  user: { uid: 1234, gid: 1235 },
  kindOf: (path) => (path.endsWith("absent") ? "absent" : path.endsWith("dir") ? "dir" : "file"),
  standIns: new Set(["/w/stand-in"]),
  seccomp: "{}",
  runtime: "runc",
  processors: 1,
  labels: { "callgate.owner": "{}" },
};

interface HostConfig {
  readonly Mounts: readonly { Source: string; Target: string; ReadOnly: boolean; BindOptions: unknown }[];
  readonly MaskedPaths: readonly string[];
  readonly NanoCpus: number;
  readonly SecurityOpt: readonly string[];
}

function hostConfig(asked: Profile): HostConfig {
  return planContainer(asked, FACTS).body["HostConfig"] as HostConfig;
}

describe("a profile as the body of a container", () => {
  const files = {
    read: ["/r"],
    write: ["/w"],
    hide: ["/w/a/dir", "/w/absent"],
    protect: ["/w/p", "/w/stand-in"],
  };

  test("all of it, held against a file", () => {
    const file = resolve(import.meta.dirname, "plan.golden.json");
    const text = `${JSON.stringify(planContainer(profile(files), FACTS), null, 2)}\n`;
    if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(file, text);
    assert.equal(text, readFileSync(file, "utf8"));
  });

  test("a grant may be written only as asked, and what is protected in it not at all", () => {
    const writable = hostConfig(profile(files)).Mounts.filter(({ ReadOnly }) => !ReadOnly);
    assert.deepEqual(writable.map(({ Target }) => Target).sort(), ["/w", "/w/a"]);
  });

  test("no bind brings in what is mounted below it", () => {
    const { Mounts } = hostConfig(profile(files));
    assert.ok(Mounts.length > 5);
    for (const { BindOptions } of Mounts) {
      assert.deepEqual(BindOptions, { Propagation: "rprivate", NonRecursive: true });
    }
  });

  test("an outer hidden folder stands for what is in it; what is absent is left to the evidence", () => {
    const { absent, mounts } = planContainer(profile(files), FACTS);
    const { MaskedPaths } = hostConfig(profile({ ...files, hide: [...files.hide, "/w/a/dir/inner"] }));
    assert.deepEqual(absent, ["/w/absent"]);
    assert.deepEqual(MaskedPaths.filter((path) => path.startsWith("/w")).sort(), ["/w/a/dir", "/w/stand-in"]);
    assert.ok(mounts.some(({ point, writable }) => point === "/w/a/dir" && !writable));
  });

  test("no more processors than there are", () => {
    assert.equal(hostConfig(profile()).NanoCpus, 1e9);
    const few = { ...profile(), limits: { ...DEFAULT_LIMITS, cpusMilli: 500 } };
    assert.equal(hostConfig(few).NanoCpus, 5e8);
  });
});
