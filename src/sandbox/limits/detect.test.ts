import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { findHomes } from "./detect.ts";

const base = mkdtempSync(join(tmpdir(), "callgate-cgroup-"));
after(() => rmSync(base, { recursive: true }));

/** Folders that look like cgroups: what is decided here is where groups are made, not that the kernel obeys. */
function group(path: string, files: Readonly<Record<string, string>> = {}): void {
  mkdirSync(join(base, path), { recursive: true });
  for (const [name, text] of Object.entries({ "cgroup.procs": "", ...files }))
    writeFileSync(join(base, path, name), text);
}

function mount(id: number, point: string, type: "cgroup" | "cgroup2", options: string, root = "/"): string {
  return `${id} 24 0:${id} ${root} ${join(base, point)} rw,relatime - ${type} ${type} ${options}`;
}

test("v1: each controller in its own tree, below this process's group", () => {
  group("v1/memory/job");
  group("v1/pids");
  group("v1/cpuacct");
  const mountinfo = [
    mount(30, "v1/memory", "cgroup", "rw,memory"),
    mount(31, "v1/pids", "cgroup", "rw,pids"),
    mount(32, "v1/cpuacct", "cgroup", "rw,cpu,cpuacct"),
  ].join("\n");
  const homes = findHomes({ membership: "4:memory:/job\n8:pids:/\n2:cpu,cpuacct:/\n0::/\n", mountinfo });
  assert.deepEqual(homes, {
    memory: { version: 1, folder: join(base, "v1/memory/job") },
    processes: { version: 1, folder: join(base, "v1/pids") },
    cpu: { version: 1, folder: join(base, "v1/cpuacct") },
    share: { version: 1, folder: join(base, "v1/cpuacct") },
  });
});

test("v1: counting and sharing out may be two trees, and one of them may be missing", () => {
  group("sp/cpu");
  group("sp/cpuacct");
  const counting = mount(33, "sp/cpuacct", "cgroup", "rw,cpuacct");
  const sharing = mount(34, "sp/cpu", "cgroup", "rw,cpu");
  const membership = "1:cpu:/\n2:cpuacct:/\n0::/\n";
  const cpu = { version: 1, folder: join(base, "sp/cpuacct") };
  assert.deepEqual(findHomes({ membership, mountinfo: `${counting}\n${sharing}` }), {
    cpu,
    share: { version: 1, folder: join(base, "sp/cpu") },
  });
  assert.deepEqual(findHomes({ membership, mountinfo: counting }), { cpu });
});

test("v2: the nearest ancestor that hands the controllers down", () => {
  const down = { "cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "cpu memory pids" };
  group("v2/user", down);
  group("v2/user/shell", { "cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "" });
  const homes = findHomes({ membership: "0::/user/shell\n", mountinfo: mount(40, "v2", "cgroup2", "rw") });
  // The shell's own group lists the controllers too: on a real kernel it holds a process and the write fails.
  assert.equal(homes.memory?.version, 2);
  assert.ok([join(base, "v2/user"), join(base, "v2/user/shell")].includes(homes.memory?.folder ?? ""));
});

test("v2: one folder serves all, since a process is in one group of the tree", () => {
  const some = { "cgroup.controllers": "memory pids", "cgroup.subtree_control": "memory pids" };
  const all = { "cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "cpu memory pids" };
  group("one", all);
  group("one/user", some);
  const facts = { membership: "0::/user\n", mountinfo: mount(41, "one", "cgroup2", "rw") };
  const homes = findHomes(facts);
  assert.deepEqual(new Set(Object.values(homes).map(({ folder }) => folder)), new Set([join(base, "one")]));
  assert.equal(Object.keys(homes).length, 4);
  rmSync(join(base, "one/cgroup.procs"));
  assert.deepEqual(findHomes(facts), {
    memory: { version: 2, folder: join(base, "one/user") },
    processes: { version: 2, folder: join(base, "one/user") },
  });
});

test("hybrid: v2 without controllers leaves each to v1, one by one", () => {
  group("hy/unified", { "cgroup.controllers": "", "cgroup.subtree_control": "" });
  group("hy/memory");
  const mountinfo = [
    mount(50, "hy/unified", "cgroup2", "rw"),
    mount(51, "hy/memory", "cgroup", "rw,memory"),
  ].join("\n");
  const homes = findHomes({ membership: "4:memory:/\n0::/\n", mountinfo });
  assert.deepEqual(homes, { memory: { version: 1, folder: join(base, "hy/memory") } });
});

test("a container sees its own group as the root of the mount", () => {
  group("ct/memory");
  const homes = findHomes({
    membership: "4:memory:/docker/abc\n",
    mountinfo: mount(60, "ct/memory", "cgroup", "rw,memory", "/docker/abc"),
  });
  assert.equal(homes.memory?.folder, join(base, "ct/memory"));
});

test("nothing writable: nothing is claimed", () => {
  assert.deepEqual(findHomes({ membership: "0::/\n", mountinfo: "" }), {});
  assert.deepEqual(
    findHomes({ membership: "4:memory:/\n", mountinfo: mount(70, "absent", "cgroup", "rw,memory") }),
    {},
  );
});
