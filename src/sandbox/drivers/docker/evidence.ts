import { lstatSync, readlinkSync } from "node:fs";
import type { Control, Controls } from "../../../contract/execution.ts";
import type { Dialogue } from "../../dialogue.ts";
import { mountsAsPlanned } from "../../evidence/mounts.ts";
import {
  type AskedSeccomp,
  capabilities,
  environment,
  network,
  readOnlyRoot,
  seccomp,
  user,
  verified,
} from "../../evidence/process.ts";
import { FD } from "../../launcher.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { labelControl, readLabel } from "../../lsm.ts";
import { type MountEntry, readDescriptors, readMounts, readStatus } from "../../procfs.ts";
import type { HostUser } from "../../user.ts";
import { INIT_FD } from "./init.ts";
import type { Plan } from "./plan.ts";

/** null(4): major 1, minor 3. */
const NULL_DEVICE = 0x103;

/** What the driver asked for, to be held against what the kernel says. */
export interface Expected {
  /** As the host counts: another than inside where the daemon remaps users. */
  readonly user: HostUser;
  readonly inside: HostUser;
  readonly plan: Plan;
  readonly seccomp: AskedSeccomp;
  readonly limits: LimitGroup;
}

/** A waiting container: pids as the host counts them, and what the launcher said. */
export interface Waiting {
  readonly init: number;
  readonly launcher: number;
  readonly dialogue: Dialogue;
}

/** Reads every control from `/proc`, at the moment it is called. Nothing here trusts the daemon's word. */
export function readEvidence(waiting: Waiting, expected: Expected): Controls {
  const { launcher, init, dialogue } = waiting;
  const status = readStatus(launcher);
  const mounts = readMounts(launcher);
  return {
    namespaces: namespaces(launcher),
    seccomp: seccomp(status, dialogue.canaryErrno, expected.seccomp),
    no_new_privs: verified(status.get("NoNewPrivs") === "1", `NoNewPrivs ${status.get("NoNewPrivs")}`),
    capabilities: capabilities(status),
    read_only_root: readOnlyRoot(mounts),
    user: user(launcher, status, expected.user, expected.inside.uid),
    lsm: label(launcher),
    ...expected.limits.evidence(launcher),
    network: network(launcher),
    environment: environment(launcher),
    mounts: mountsAsPlanned(mountsInReach(launcher, mounts), expected.plan),
    descriptors: descriptors(launcher, init),
  };
}

const NAMESPACES = ["mnt", "pid", "net", "ipc", "uts", "cgroup"] as const;

/**
 * A daemon that does not remap users (`userns-remap`) gives a container no user namespace of its own. bubblewrap needs
 * one to have the others; here a user that is not root and holds no capability stands in its place, and the evidence
 * says so.
 */
function namespaces(pid: number): Control {
  const inode = (name: string, of: number | "self"): string =>
    /\d+/.exec(readlinkSync(`/proc/${of}/ns/${name}`))?.[0] ?? "?";
  const shared = NAMESPACES.filter((name) => inode(name, pid) === inode(name, "self"));
  if (shared.length > 0) return verified(false, `shared with the host: ${shared.join(", ")}`);
  const own = NAMESPACES.map((name) => `${name} ${inode(name, pid)}`).join(", ");
  const users = inode("user", pid);
  return verified(
    true,
    users === inode("user", "self")
      ? `${own}; user shared with the host (the daemon remaps no users)`
      : `${own}, user ${users}`,
  );
}

/** AppArmor's profile for containers, or SELinux's type for them: the daemon gives it where the host has either. */
function label(pid: number): Control {
  const seen = readLabel(pid);
  const ofContainers = seen?.module === "SELinux" && /:(?:container|svirt_lxc_net)_t(?::|$)/.test(seen.label);
  return labelControl(pid, ofContainers ? seen.label : "docker-default");
}

/**
 * What a walk through the container's root meets. The runtime covers `/sys` with all that is mounted below it; and over
 * a hidden file it lays its null device, and leaves that mount writable.
 */
function mountsInReach(pid: number, mounts: readonly MountEntry[]): readonly MountEntry[] {
  return mounts.flatMap((mount) => {
    const path = `/proc/${pid}/root${mount.point}`;
    const entry = lstatSync(path, { throwIfNoEntry: false });
    if (entry === undefined) return [];
    const isNull = entry.isCharacterDevice() && entry.rdev === NULL_DEVICE;
    return [isNull ? { ...mount, writable: false } : mount];
  });
}

/**
 * The launcher holds its standard three, its channel both ways and the request; the first process two pipes of which
 * neither is the launcher's, and nothing else to read from or to write to.
 */
function descriptors(launcher: number, init: number): Control {
  const ofLauncher = new Set<number>([0, 1, 2, FD.control, INIT_FD.go, FD.request]);
  const ofInit = new Set<number>([INIT_FD.end, INIT_FD.hold]);
  const stray = [
    ...[...readDescriptors(launcher)].filter(([fd]) => !ofLauncher.has(fd)),
    ...[...readDescriptors(init)].filter(([fd, target]) => !ofInit.has(fd) && target !== "/dev/null"),
  ].map(([fd, target]) => `${fd} ${target}`);
  return verified(
    stray.length === 0,
    stray.length === 0 ? "0 to 4 and the request" : `stray: ${stray.join(", ")}`,
  );
}
