import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { constants as os } from "node:os";
import type { Control, Controls } from "../../../contract/execution.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Dialogue, LandlockTrial } from "../../dialogue.ts";
import { FD } from "../../launcher.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { locate, type MountEntry, readDescriptors, readMounts, readStatus } from "../../procfs.ts";
import { type HostUser, INSIDE } from "../../user.ts";
import type { Plan } from "./plan.ts";

const EVIDENCE_LENGTH_MAX = 300;

/** What the driver asked for, to be held against what the kernel says. */
export interface Expected {
  readonly user: HostUser;
  readonly plan: Plan;
  readonly seccomp: { readonly digest: Digest; readonly canaryErrno: number };
  readonly limits: LimitGroup;
}

/** A waiting sandbox: pids as the host counts them, and what the launcher said. */
export interface Waiting {
  readonly init: number;
  readonly launcher: number;
  readonly dialogue: Dialogue;
}

/** Reads every control from `/proc`, at the moment it is called. Nothing here trusts what was asked for. */
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
    user: user(launcher, status, expected.user),
    lsm: landlock(dialogue.landlock),
    ...expected.limits.evidence(launcher),
    network: network(launcher),
    environment: environment(launcher),
    mounts: mountsAsPlanned(mounts, expected.plan),
    descriptors: descriptors(launcher, init),
  };
}

function verified(holds: boolean, evidence: string): Control {
  return {
    state: holds ? "enforced" : "unavailable",
    basis: "verified",
    evidence: evidence.slice(0, EVIDENCE_LENGTH_MAX),
  };
}

const NAMESPACES = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] as const;

function namespaces(pid: number): Control {
  const shared = NAMESPACES.filter(
    (name) => readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`),
  );
  const inodes = NAMESPACES.map(
    (name) => `${name} ${/\d+/.exec(readlinkSync(`/proc/${pid}/ns/${name}`))?.[0]}`,
  );
  return verified(
    shared.length === 0,
    shared.length === 0 ? inodes.join(", ") : `shared with the host: ${shared.join(", ")}`,
  );
}

/** Mode 2 and a filter count say that some filter is loaded; the canary's number says that it is this one. */
function seccomp(status: ReadonlyMap<string, string>, answered: number, asked: Expected["seccomp"]): Control {
  const [mode, filters] = [status.get("Seccomp"), status.get("Seccomp_filters") ?? "?"];
  return verified(
    mode === "2" && answered === asked.canaryErrno,
    `mode ${mode}, filters ${filters}, canary ${answered} of ${asked.canaryErrno}, program ${asked.digest}`,
  );
}

/** The kernel shows nobody a process's Landlock rules: the launcher tries a file that none of them names. */
function landlock(trial: LandlockTrial | undefined): Control {
  if (trial === undefined) return unavailable("no Landlock rules: they need the native launcher");
  if (trial.abi === 0) return unavailable("this kernel has no Landlock of ABI 2 or newer");
  const { abi, errnoBefore, errnoAfter } = trial;
  const bites = errnoBefore === 0 && errnoAfter === os.errno.EACCES;
  return {
    state: bites ? "enforced" : "unavailable",
    basis: "probed",
    evidence: `Landlock ABI ${abi}; a file that no rule names: errno ${errnoBefore} before, ${errnoAfter} after`,
  };
}

function unavailable(evidence: string): Control {
  return { state: "unavailable", basis: "verified", evidence };
}

function capabilities(status: ReadonlyMap<string, string>): Control {
  const sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(
    (name) => [name, status.get(name) ?? "?"] as const,
  );
  return verified(
    sets.every(([, value]) => /^0+$/.test(value)),
    sets.map(([name, value]) => `${name} ${value.replace(/^0+(?=.)/, "")}`).join(", "),
  );
}

function readOnlyRoot(mounts: readonly MountEntry[]): Control {
  const root = mounts.find((mount) => mount.point === "/");
  return verified(root?.writable === false, `/ is ${root?.writable === false ? "read-only" : "writable"}`);
}

function user(pid: number, status: ReadonlyMap<string, string>, asked: HostUser): Control {
  const uids = (status.get("Uid") ?? "").split(/\s+/).map(Number);
  const gids = (status.get("Gid") ?? "").split(/\s+/).map(Number);
  const groups = (status.get("Groups") ?? "").trim();
  const holds =
    uids.length === 4 &&
    uids.every((uid) => uid === asked.uid && uid !== 0) &&
    gids.every((gid) => gid === asked.gid && gid !== 0);
  const map = readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().replace(/\s+/g, " ");
  return verified(
    holds && !groups.split(/\s+/).includes("0"),
    `host uid ${uids[0]}, gid ${gids[0]}, groups ${groups === "" ? "none" : groups}, inside ${INSIDE.uid}, uid_map ${map}`,
  );
}

function network(pid: number): Control {
  const devices = readFileSync(`/proc/${pid}/net/dev`, "utf8")
    .split("\n")
    .slice(2)
    .map((line) => line.split(":")[0]?.trim() ?? "")
    .filter((name) => name !== "");
  const own = readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync("/proc/self/ns/net");
  return verified(
    own && devices.every((name) => name === "lo"),
    `${own ? "own" : "the host's"} namespace, devices: ${devices.join(", ")}`,
  );
}

/** Before release the launcher's own variables are all there is; the tool's come with the request. */
function environment(pid: number): Control {
  const names = readFileSync(`/proc/${pid}/environ`, "utf8")
    .split("\0")
    .filter((entry) => entry !== "")
    .map((entry) => entry.split("=")[0] ?? "");
  const foreign = names.filter((name) => name !== "PWD");
  return verified(
    foreign.length === 0,
    foreign.length === 0 ? "nothing inherited" : `inherited: ${foreign.join(", ")}`,
  );
}

/**
 * Every planned mount is there, bound from where it should be and writable only as planned; no writable mount is
 * there that was not planned. The kernel's view inside is compared with this process's own view of the sources.
 */
function mountsAsPlanned(seen: readonly MountEntry[], { mounts: planned, absent }: Plan): Control {
  const host = readMounts("self");
  const wrong = absent
    .filter((path) => existsSync(path))
    .map((path) => `${path} has appeared and is not hidden`);
  for (const mount of planned) {
    const entry = seen.findLast((candidate) => candidate.point === mount.point);
    if (entry === undefined) wrong.push(`${mount.point} is not mounted`);
    else if (entry.writable && !mount.writable) wrong.push(`${mount.point} is writable`);
    else if (mount.source !== undefined) {
      const source = locate(mount.source, host);
      if (source?.device !== entry.device || source.root !== entry.root)
        wrong.push(`${mount.point} is another folder`);
    }
  }
  const ofPlan = new Map(planned.map((mount) => [mount.point, mount]));
  for (const { point, type } of seen) {
    // Ours are made for the sandbox, or are the null device over a hidden file: neither has a source.
    const mount = ofPlan.get(point);
    const ours = /^\/(?:proc|dev)(?:\/|$)/.test(point) || (mount !== undefined && mount.source === undefined);
    if (!ours && KERNEL_FILE_SYSTEMS.has(type)) wrong.push(`${point} is the host's ${type}`);
  }
  const writable = planned.filter((mount) => mount.writable).map((mount) => mount.point);
  for (const entry of seen) {
    if (!entry.writable || isKernelDevice(entry.point)) continue;
    const inside = writable.some((point) => entry.point === point || entry.point.startsWith(`${point}/`));
    if (!inside) wrong.push(`${entry.point} is writable and was not planned`);
  }
  const count = `${seen.length} mounts, writable: ${writable.join(", ")}`;
  return verified(wrong.length === 0, wrong.length === 0 ? count : wrong.join("; "));
}

/** Interfaces to the host's kernel: one that lies below a granted folder comes in with it, and is never meant. */
const KERNEL_FILE_SYSTEMS: ReadonlySet<string> = new Set(
  "proc sysfs cgroup cgroup2 devtmpfs devpts debugfs tracefs securityfs bpf configfs mqueue pstore efivarfs".split(
    " ",
  ),
);

/** The device nodes that bubblewrap binds one by one. */
function isKernelDevice(point: string): boolean {
  return /^\/dev\/(?:null|zero|full|random|urandom|tty|pts|console)$/.test(point);
}

/** The launcher and the sandbox's init hold their standard three, the control socket and the request; nothing else. */
function descriptors(launcher: number, init: number): Control {
  const expected = new Set<number>([0, 1, 2, FD.control, FD.request]);
  const stray: string[] = [];
  for (const pid of [launcher, init]) {
    for (const [fd, target] of readDescriptors(pid)) {
      // bubblewrap's init waits on an event descriptor and a signal descriptor: neither names a file.
      if (expected.has(fd) || /^anon_inode:\[(?:eventfd|signalfd)\]$/.test(target)) continue;
      if (target === "/dev/null") continue;
      stray.push(`${fd} ${target}`);
    }
  }
  return verified(
    stray.length === 0,
    stray.length === 0 ? "0 to 3 and the request" : `stray: ${stray.join(", ")}`,
  );
}
