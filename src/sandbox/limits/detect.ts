import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { LimitBackend } from "./backend.ts";
import { CgroupBackend } from "./cgroup.ts";
import { CONTROLLED, type Controlled, type ControllerHome, type ControllerHomes } from "./cgroup-group.ts";
import { RlimitBackend } from "./rlimit.ts";

/** Names of the controllers that stand for each limit, v1 then v2. */
const CONTROLLERS: Readonly<Record<Controlled, { readonly v1: string; readonly v2: string }>> = {
  memory: { v1: "memory", v2: "memory" },
  processes: { v1: "pids", v2: "pids" },
  cpu: { v1: "cpuacct", v2: "cpu" },
  share: { v1: "cpu", v2: "cpu" },
};

/** What the kernel says of this process and its mounts; injected so that other hosts' layouts can be tested. */
export interface CgroupFacts {
  /** `/proc/self/cgroup`. */
  readonly membership: string;
  /** `/proc/self/mountinfo`. */
  readonly mountinfo: string;
}

interface CgroupMount {
  readonly version: 1 | 2;
  readonly root: string;
  readonly point: string;
  readonly controllers: readonly string[];
}

export function readCgroupFacts(): CgroupFacts {
  return {
    membership: readFileSync("/proc/self/cgroup", "utf8"),
    mountinfo: readFileSync("/proc/self/mountinfo", "utf8"),
  };
}

/** The strongest way of bounding a tree that this host gives this process. */
export function detectLimits(): LimitBackend {
  const homes = findHomes(readCgroupFacts());
  return Object.keys(homes).length > 0 ? new CgroupBackend(homes) : new RlimitBackend();
}

/** The group that a process is in, for each controller that is at work there. Whoever made it. */
export function groupsOf(pid: number): ReadonlyMap<Controlled, ControllerHome> {
  const membership = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  const mounts = parseMounts(readFileSync("/proc/self/mountinfo", "utf8"));
  const groups = new Map<Controlled, ControllerHome>();
  for (const limited of CONTROLLED) {
    const { v1, v2 } = CONTROLLERS[limited];
    const unified = mounts.find((mount) => mount.version === 2);
    const ownV2 = ownPath(membership, (controllers) => controllers.length === 0);
    const folderV2 = unified === undefined || ownV2 === undefined ? undefined : below(unified, ownV2);
    if (folderV2 !== undefined && readWords(join(folderV2, "cgroup.controllers")).includes(v2)) {
      groups.set(limited, { version: 2, folder: folderV2 });
      continue;
    }
    const mount = mounts.find((candidate) => candidate.version === 1 && candidate.controllers.includes(v1));
    const own = ownPath(membership, (controllers) => controllers.includes(v1));
    if (mount !== undefined && own !== undefined)
      groups.set(limited, { version: 1, folder: below(mount, own) });
  }
  return groups;
}

/** For each limit the folder in which this process may make groups, where there is one. */
export function findHomes(facts: CgroupFacts): ControllerHomes {
  const mounts = parseMounts(facts.mountinfo);
  const homes: Partial<Record<Controlled, ControllerHome>> = {};
  const unified = homeV2(mounts, facts.membership);
  for (const controlled of CONTROLLED) {
    const home = unified?.controlled.has(controlled)
      ? unified.home
      : homeV1(controlled, mounts, facts.membership);
    if (home !== undefined) homes[controlled] = home;
  }
  return homes;
}

function parseMounts(mountinfo: string): readonly CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of mountinfo.split("\n")) {
    const [before, after] = line.split(" - ");
    const fields = before?.split(" ") ?? [];
    const [type, , options] = after?.split(" ") ?? [];
    const [root, point] = [fields[3], fields[4]];
    if (root === undefined || point === undefined) continue;
    if (type === "cgroup") mounts.push({ version: 1, root, point, controllers: options?.split(",") ?? [] });
    if (type === "cgroup2") mounts.push({ version: 2, root, point, controllers: [] });
  }
  return mounts;
}

function homeV1(
  controlled: Controlled,
  mounts: readonly CgroupMount[],
  membership: string,
): ControllerHome | undefined {
  const controller = CONTROLLERS[controlled].v1;
  const mount = mounts.find(
    (candidate) => candidate.version === 1 && candidate.controllers.includes(controller),
  );
  const own = ownPath(membership, (controllers) => controllers.includes(controller));
  if (mount === undefined || own === undefined) return undefined;
  const folder = below(mount, own);
  return canMakeGroups(folder) ? { version: 1, folder } : undefined;
}

interface Unified {
  readonly home: ControllerHome;
  readonly controlled: ReadonlySet<Controlled>;
}

/**
 * In v2 a group with processes of its own cannot hand controllers down (cgroup-v2.rst, "No Internal Process
 * Constraint"), so groups are made in the nearest ancestor that does and that this process may write. A process is in
 * one group of the tree, so one folder serves all: the nearest of those that hand down most.
 */
function homeV2(mounts: readonly CgroupMount[], membership: string): Unified | undefined {
  const mount = mounts.find((candidate) => candidate.version === 2);
  const own = ownPath(membership, (controllers) => controllers.length === 0);
  if (mount === undefined || own === undefined) return undefined;
  let best: Unified | undefined;
  for (let folder = below(mount, own); folder.startsWith(mount.point); folder = dirname(folder)) {
    const controlled = new Set(CONTROLLED.filter((name) => handsDown(folder, CONTROLLERS[name].v2)));
    if (controlled.size > (best?.controlled.size ?? 0) && canMakeGroups(folder))
      best = { home: { version: 2, folder }, controlled };
    if (folder === mount.point || best?.controlled.size === CONTROLLED.length) break;
  }
  return best;
}

function ownPath(
  membership: string,
  matches: (controllers: readonly string[]) => boolean,
): string | undefined {
  for (const line of membership.split("\n")) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match === null) continue;
    if (matches((match[1] ?? "").split(",").filter((name) => name !== ""))) return match[2];
  }
  return undefined;
}

/** A container sees its own group as the mount's root. */
function below(mount: CgroupMount, own: string): string {
  const inside = own.startsWith(mount.root) && mount.root !== "/" ? own.slice(mount.root.length) : own;
  const folder = inside === "/" ? mount.point : join(mount.point, inside);
  return existsSync(folder) ? folder : mount.point;
}

function handsDown(folder: string, controller: string): boolean {
  const file = join(folder, "cgroup.subtree_control");
  const has = (): boolean => readWords(file).includes(controller);
  if (has()) return true;
  if (!readWords(join(folder, "cgroup.controllers")).includes(controller)) return false;
  try {
    writeFileSync(file, `+${controller}`);
    return has();
  } catch {
    return false; // it holds processes, or is not ours to change
  }
}

function readWords(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").trim().split(/\s+/);
  } catch {
    return [];
  }
}

/** Tries it: permission bits say little under user namespaces and read-only mounts. */
function canMakeGroups(folder: string): boolean {
  const trial = join(folder, `callgate-${process.pid}-0`);
  try {
    accessSync(join(folder, "cgroup.procs"), constants.W_OK);
    mkdirSync(trial);
    rmdirSync(trial);
    return true;
  } catch {
    return false;
  }
}
