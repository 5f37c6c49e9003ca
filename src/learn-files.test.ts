/** What a real run named, compared with this host. */
import assert from "node:assert/strict";
import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ObservedFile, ObservedFiles } from "./contract/execution.ts";
import { DEFAULT_LIMITS, type Profile } from "./contract/profile.ts";
import { isWithin } from "./contract/within.ts";
import { type UsedFiles, usedFiles, WITHHELD_MAX } from "./learn-files.ts";
import { buildProfile } from "./sandbox/grants.ts";
import { openBench } from "./sandbox/sandbox.fixture.ts";

interface Scene extends Disposable {
  readonly workspace: string;
  readonly home: string;
  readonly other: string;
  readonly state: string;
  profile(read?: readonly string[], write?: readonly string[]): Profile;
  used(files: readonly ObservedFile[], profile?: Profile, more?: Partial<ObservedFiles>): UsedFiles;
}

/** Outside of `/tmp`, which a sandbox has for itself. */
const GROUND = ["/var", homedir()].find((path) => !isWithin(path, "/tmp") && isWritable(path));

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function scene(): Scene {
  const base = mkdtempSync(join(GROUND ?? tmpdir(), "callgate-learn-"));
  const [workspace, home, other, state] = ["workspace", "home", "other", "state"].map((name) =>
    join(base, name),
  );
  for (const folder of [workspace, home, other, state]) mkdirSync(folder ?? "");
  const place = { workspace: `${workspace}`, home: `${home}`, other: `${other}`, state: `${state}` };
  const profile: Scene["profile"] = (read = ["."], write = []) =>
    buildProfile({
      isolation: "process",
      files: { read, write, hide: [] },
      environment: {},
      workspace: place.workspace,
      limits: DEFAULT_LIMITS,
      treeLimits: false,
      ownHidden: [place.state],
      ownProtected: [],
      home: place.home,
    });
  return {
    ...place,
    profile,
    used: (files, given = profile(), more = {}) =>
      usedFiles({ files, further: 0, unread: 0, complete: true, ...more }, given, {
        workspace: place.workspace,
        home: place.home,
        ownHidden: [place.state],
      }),
    [Symbol.dispose]: () => rmSync(base, { recursive: true }),
  };
}

function named(path: string, access: ObservedFile["access"], times = 1): ObservedFile {
  return { path, access, times };
}

describe("what a run used of this host", {
  skip: GROUND === undefined && "needs a folder outside of /tmp",
}, () => {
  it("is what exists, with what the profile gave told from what it did not", () => {
    using s = scene();
    for (const path of [join(s.workspace, "a"), join(s.other, "b"), join(s.other, "run")])
      writeFileSync(path, "");
    const { used, withheld } = s.used([
      named(join(s.workspace, "a"), "read", 2),
      named(join(s.workspace, "a"), "look", 3),
      named(join(s.other, "b"), "look"),
      named(join(s.other, "run"), "execute"),
      named(join(s.other, "absent"), "read"),
      named(s.other, "look"),
    ]);
    assert.deepEqual(used, [
      { path: join(s.other, "b"), kind: "file", access: "read", times: 1, granted: false },
      { path: join(s.other, "run"), kind: "file", access: "read", times: 1, granted: false },
      { path: join(s.workspace, "a"), kind: "file", access: "read", times: 5, granted: true },
    ]);
    assert.deepEqual(withheld, []);
  });

  it("leaves out what every sandbox has or makes for itself", () => {
    using s = scene();
    const paths = [
      "/usr/bin/env",
      "/bin/sh",
      "/etc/passwd",
      "/etc/hosts",
      "/proc/self/maps",
      "/dev/null",
      "/tmp",
    ];
    const all = paths.flatMap((path) => [named(path, "read"), named(path, "write")]);
    assert.deepEqual(s.used(all).used, []);
  });

  it("withholds secrets, ours and the caller's, by whatever name, and what only the system may read", () => {
    using s = scene();
    mkdirSync(join(s.home, ".ssh"));
    const secrets = [join(s.home, ".ssh", "id"), join(s.home, ".npmrc"), join(s.state, "key")];
    for (const path of secrets) writeFileSync(path, "");
    symlinkSync(join(s.home, ".ssh"), join(s.other, "innocent"));
    writeFileSync(join(s.other, "shadow"), "");
    chmodSync(join(s.other, "shadow"), 0o640);
    const { used, withheld } = s.used([
      ...secrets.map((path) => named(path, "read")),
      named(join(s.other, "innocent", "id"), "read"),
      named("/home/tool/.npmrc", "look"),
      named(join(s.other, "shadow"), "read"),
      named(join(s.home, ".ssh", "known"), "write"),
      named(join(s.home, ".aws", "credentials"), "look"),
    ]);
    assert.deepEqual(used, []);
    assert.deepEqual(
      withheld.map(({ path, times }) => [path, times]),
      [
        [join(s.home, ".npmrc"), 2],
        [join(s.home, ".ssh/id"), 2],
        [join(s.other, "shadow"), 1],
        [join(s.state, "key"), 1],
      ],
    );
    assert.ok(withheld.every(({ why }) => why.includes("never proposed")));
  });

  it("withholds what a link leads to a secret, or a secret that is a link, and what no tool is ever given", () => {
    using s = scene();
    mkdirSync(join(s.home, ".ssh"));
    symlinkSync(join(s.home, ".ssh"), join(s.other, "innocent"));
    writeFileSync(join(s.other, "npmrc"), "");
    symlinkSync(join(s.other, "npmrc"), join(s.home, ".npmrc"));
    symlinkSync("/usr/share", join(s.other, "share"));
    const { used, withheld } = s.used([
      named(join(s.home, ".npmrc"), "read"),
      named(join(s.other, "innocent", "new"), "write"),
      named(join(s.other, "share", "new"), "write"),
      named(join(s.other, "share", "doc"), "read"),
      named("/run", "read"),
    ]);
    assert.deepEqual(used, []);
    assert.deepEqual(
      withheld.map(({ path }) => path),
      ["/run", join(s.other, "innocent", "new"), join(s.other, "npmrc")],
    );
  });

  it("takes the folder for what a tool may have made, and the file for what was there and was refused", () => {
    using s = scene();
    for (const path of [join(s.workspace, "old"), join(s.other, "old")]) writeFileSync(path, "");
    const writes = [
      named(join(s.workspace, "old"), "write"),
      named(join(s.workspace, "deep", "er", "new"), "write"),
      named(join(s.other, "old"), "write"),
    ];
    const paths = (profile: Profile): readonly unknown[] =>
      s.used(writes, profile).used.map(({ path, kind, granted }) => [path, kind, granted]);
    assert.deepEqual(paths(s.profile()), [
      [join(s.other, "old"), "file", false],
      [s.workspace, "folder", false],
      [join(s.workspace, "old"), "file", false],
    ]);
    assert.deepEqual(paths(s.profile([], ["."])), [
      [join(s.other, "old"), "file", false],
      [s.workspace, "folder", true],
    ]);
  });

  it("withholds what is protected from writing", () => {
    using s = scene();
    mkdirSync(join(s.workspace, ".git", "hooks"), { recursive: true });
    const profile = s.profile([], ["."]);
    assert.ok(profile.files.protect.includes(join(s.workspace, ".git", "hooks")));
    const { used, withheld } = s.used([named(join(s.workspace, ".git/hooks/post-commit"), "write")], profile);
    assert.deepEqual(used, []);
    assert.match(withheld[0]?.why ?? "", /protected from every tool/);
  });

  it("withholds names that a manifest cannot hold", () => {
    using s = scene();
    const odd = ["new\nline", "a{b}", "x$y", "star*"].map((name) => join(s.other, name));
    for (const path of odd) writeFileSync(path, "");
    const files = [
      ...odd.map((path) => named(path, "read")),
      { path: "/opt/\\xff", access: "read", times: 1, malformed: true },
    ] satisfies ObservedFile[];
    const { used, withheld } = s.used(files);
    assert.deepEqual(used, []);
    assert.equal(withheld.length, 5);
    assert.ok(withheld.every(({ why }) => why.includes("cannot be written in a manifest")));
  });

  it("tells a bounded number of withheld paths", () => {
    using s = scene();
    const files = Array.from({ length: WITHHELD_MAX + 5 }, (_, at) => ({
      ...named(`/opt/\\xff${at}`, "read"),
      malformed: true as const,
    }));
    assert.equal(s.used([...files, ...files]).withheld.length, WITHHELD_MAX);
  });

  it("says what was not seen", () => {
    using s = scene();
    assert.deepEqual(s.used([]).gaps, []);
    assert.equal(s.used([], s.profile(), { further: 3, unread: 2, complete: false }).gaps.length, 3);
  });

  it("is found by a real run", async () => {
    using s = scene();
    writeFileSync(join(s.other, "config"), "");
    chmodSync(s.other, 0o755);
    await using bench = openBench();
    const profile = bench.profile();
    const script = `cat a.txt ${join(s.other, "config")} /etc/shadow; [ -e ${join(s.other, "nothing")} ]; echo x > a.txt; true`;
    const { execution } = await bench.run(["sh", "-c", script], {
      profile: { ...profile, observeFiles: true },
    });
    assert.ok(execution.outcome === "exited" && execution.observed !== undefined);
    const place = { workspace: bench.workspace, home: s.home, ownHidden: [bench.folder] };
    const { used, withheld } = usedFiles(execution.observed, profile, place);
    const a = join(bench.workspace, "a.txt");
    assert.deepEqual(
      used.map(({ path, access, granted }) => [path, access, granted]),
      [
        [a, "read", true],
        [a, "write", false],
        [join(s.other, "config"), "read", false],
      ],
      JSON.stringify(used),
    );
    assert.deepEqual(
      withheld.map(({ path }) => path),
      ["/etc/shadow"],
    );
    assert.ok(
      bench.workspace.startsWith(tmpdir()),
      "a workspace may lie where a sandbox has a folder of its own",
    );
  });
});
