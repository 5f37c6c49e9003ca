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
import { LIMITED, type LimitBackend, type Limited } from "./backend.ts";
import { CgroupBackend, type ControllerHome, type ControllerHomes } from "./cgroup.ts";
import { RlimitBackend } from "./rlimit.ts";

/** Names of the controllers that stand for each limit, v1 then v2. */
const CONTROLLERS: Readonly<Record<Limited, { readonly v1: string; readonly v2: string }>> = {
  memory: { v1: "memory", v2: "memory" },
  processes: { v1: "pids", v2: "pids" },
  cpu: { v1: "cpuacct", v2: "cpu" },
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

/** The strongest way of bounding a tree that this host gives this process. */
export function detectLimits(
  facts: CgroupFacts = {
    membership: readFileSync("/proc/self/cgroup", "utf8"),
    mountinfo: readFileSync("/proc/self/mountinfo", "utf8"),
  },
): LimitBackend {
  const homes = findHomes(facts);
  return Object.keys(homes).length > 0 ? new CgroupBackend(homes) : new RlimitBackend();
}

/** For each limit the folder in which this process may make groups, where there is one. */
export function findHomes(facts: CgroupFacts): ControllerHomes {
  const mounts = parseMounts(facts.mountinfo);
  const homes: Partial<Record<Limited, ControllerHome>> = {};
  for (const limited of LIMITED) {
    const home = homeV2(limited, mounts, facts.membership) ?? homeV1(limited, mounts, facts.membership);
    if (home !== undefined) homes[limited] = home;
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
  limited: Limited,
  mounts: readonly CgroupMount[],
  membership: string,
): ControllerHome | undefined {
  const controller = CONTROLLERS[limited].v1;
  const mount = mounts.find(
    (candidate) => candidate.version === 1 && candidate.controllers.includes(controller),
  );
  const own = ownPath(membership, (controllers) => controllers.includes(controller));
  if (mount === undefined || own === undefined) return undefined;
  const folder = below(mount, own);
  return canMakeGroups(folder) ? { version: 1, folder } : undefined;
}

/**
 * In v2 a group with processes of its own cannot hand controllers down (cgroup-v2.rst, "No Internal Process
 * Constraint"), so groups are made in the nearest ancestor that already does and that this process may write.
 */
function homeV2(
  limited: Limited,
  mounts: readonly CgroupMount[],
  membership: string,
): ControllerHome | undefined {
  const controller = CONTROLLERS[limited].v2;
  const mount = mounts.find((candidate) => candidate.version === 2);
  const own = ownPath(membership, (controllers) => controllers.length === 0);
  if (mount === undefined || own === undefined) return undefined;
  for (let folder = below(mount, own); folder.startsWith(mount.point); folder = dirname(folder)) {
    if (handsDown(folder, controller) && canMakeGroups(folder)) return { version: 2, folder };
    if (folder === mount.point) break;
  }
  return undefined;
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
