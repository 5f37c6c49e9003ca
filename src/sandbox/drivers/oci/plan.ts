import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../../contract/within.ts";
import { launcherCommand } from "../../launcher.ts";
import { LIMITED, type Limited } from "../../limits/backend.ts";
import { rlimitsFor } from "../../limits/rlimit.ts";
import {
  type InsideUser,
  type LaidFile,
  landlockRules,
  type MountPlan,
  type MountStep,
  type PlannedFile,
  type PlannedMount,
  planMounts,
} from "../../mounts.ts";
import type { SeccompProfile } from "../../seccomp/profile.ts";
import type { HostUser } from "../../user.ts";
import { INSIDE } from "../../user.ts";
import { type BuildStep, STAGED } from "./builder.ts";
import type { Runtime } from "./runtimes.ts";

/** Where the launcher lies inside: static, so that it runs in any root. */
export const LAUNCHER_INSIDE = "/run/callgate-launch";

export interface Plan extends Pick<MountPlan, "mounts" | "absent"> {
  readonly steps: readonly BuildStep[];
  /** `config.json` (OCI runtime-spec, config.md). */
  readonly config: Readonly<Record<string, unknown>>;
  /** Grants that the runtime mounts by itself, outermost first; the others come with the root. */
  readonly grants: readonly string[];
}

/** What the plan must know of this host beside the profile. */
export interface PlanFacts {
  readonly runtime: Runtime;
  /** The bottom: the host's programs, or another root file system with the files that are laid over it. */
  readonly base: readonly MountStep[];
  /** Small files that are laid over the bottom. */
  readonly files: readonly PlannedFile[];
  readonly kindOf: (path: string) => "dir" | "file" | "absent";
  readonly standIns: ReadonlySet<string>;
  /** Limits that a cgroup enforces; the others become rlimits. */
  readonly enforced: ReadonlySet<Limited>;
  readonly inside: InsideUser;
  /** Of granted paths whose owner is shown as the sandbox's user; unset: bound as they are. */
  readonly ownerOf: (path: string) => HostUser | undefined;
  readonly seccomp: SeccompProfile;
  /** `native/launch.c`, on the host. */
  readonly launcher: string;
  /** AppArmor's label for the tool; unset where none is loaded. */
  readonly label: string | undefined;
  /** Where it is started in a network that it shares: files laid over the host's. Unset: it makes its own. */
  readonly network?: readonly LaidFile[];
}

/** Profile -> what is built, and `config.json`. Pure: the same profile and facts give the same plan. */
export function planOci(profile: Profile, facts: PlanFacts): Plan {
  const { runtime } = facts;
  const { steps, mounts, absent } = planMounts(profile, facts);
  const grants = ownGrants(profile);
  const laid = [
    { point: LAUNCHER_INSIDE, source: facts.launcher, writable: false },
    ...(facts.network ?? []).map(({ point, path }) => ({ point, source: path, writable: false })),
  ];
  const network = facts.network === undefined ? ["network"] : [];
  const namespaces = ["pid", "mount", ...network, "ipc", "uts", "cgroup"];
  const folders = [
    ...["/proc", "/dev", "/tmp", INSIDE.home],
    ...(runtime.ownKernel ? ["/sys"] : []),
    profile.workingDirectory,
  ];
  return {
    steps: [
      ...folders.slice(0, -1).map(folder),
      ...facts.files.map(fileStep),
      ...steps.flatMap((step) => buildSteps(step, profile, facts)),
      ...laid.map((mount): BuildStep => ({ kind: "bind", ...mount })),
      ...folders.slice(-1).map(folder),
    ],
    config: {
      ociVersion: "1.0.2",
      process: processOf(profile, facts, mounts),
      root: { path: STAGED.root, readonly: true },
      hostname: "sandbox",
      mounts: runtime.ownKernel ? guestMounts(profile, grants) : kernelMounts(profile),
      linux: {
        namespaces: namespaces.map((type) => ({ type })),
        seccomp: facts.seccomp,
        maskedPaths: MASKED,
        readonlyPaths: READ_ONLY,
      },
    },
    mounts: [...mounts.filter(isHostMount(steps, runtime)), ...laid],
    absent,
    grants,
  };
}

/** What a guest's own kernel mounts is no mount of the host. */
function isHostMount(steps: readonly MountStep[], { ownKernel }: Runtime): (mount: PlannedMount) => boolean {
  const guest = new Set(steps.flatMap((step) => (step.kind === "scratch" ? [step.point] : [])));
  return ({ point }) => !ownKernel || !(guest.has(point) || /^\/(?:proc|dev)(?:\/|$)/.test(point));
}

function folder(point: string): BuildStep {
  return { kind: "folder", point };
}

function fileStep({ path, content }: PlannedFile): BuildStep {
  return content === undefined
    ? { kind: "copy", point: path, source: path }
    : { kind: "file", point: path, content };
}

/** Interfaces of the kernel that tell of the host; `/sys` is not mounted at all. */
const MASKED = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

function processOf(
  profile: Profile,
  { runtime, inside, enforced, label }: PlanFacts,
  mounts: MountPlan["mounts"],
): Readonly<Record<string, unknown>> {
  // A cgroup counts the host's tasks; inside of another kernel the tool's own count is bounded there.
  const bounded = runtime.ownKernel
    ? new Set(LIMITED.filter((limited) => limited === "memory" && enforced.has(limited)))
    : enforced;
  const rlimits = rlimitsFor(profile.limits, bounded);
  return {
    terminal: false,
    user: { uid: inside.uid, gid: inside.gid },
    args: launcherCommand({
      native: LAUNCHER_INSIDE,
      init: "early",
      reports: runtime.ownKernel,
      rlimits,
      landlock: landlockRules(mounts),
    }),
    // The runtime would look a home up and add it: said here, it is one we know.
    env: ["HOME=/"],
    cwd: profile.workingDirectory,
    capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
    noNewPrivileges: true,
    ...(label === undefined ? {} : { apparmorProfile: label }),
  };
}

/** Everything else is in the root already, bound there with it. */
function kernelMounts({ limits }: Profile): readonly unknown[] {
  const quiet = ["nosuid", "noexec"];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: [...quiet, "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: [...quiet, "strictatime", "mode=755", "size=64k", "ro"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: [...quiet, "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "nodev", "mode=1777", `size=${limits.scratchBytes}`],
    },
  ];
}

/** The working folder where nothing is granted of it and a scratch folder of the guest's covers it. */
function lostFolder({ files: { read, write }, workingDirectory: folder }: Profile): readonly string[] {
  const isCovered = ["/tmp", INSIDE.home].some((scratch) => folder !== scratch && isWithin(folder, scratch));
  return isCovered && ![...read, ...write].some((grant) => isWithin(folder, grant)) ? [folder] : [];
}

/**
 * gVisor serves the root through its gofer, read-only as a whole: what may be written is mounted beside it, and scratch
 * space lies in the sentry's own memory.
 */
function guestMounts(profile: Profile, grants: readonly string[]): readonly unknown[] {
  const { write } = profile.files;
  const options = ["nosuid", "nodev", "mode=1777", `size=${profile.limits.scratchBytes}`];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    ...["/tmp", INSIDE.home, "/dev/shm"].map((destination) => ({
      destination,
      type: "tmpfs",
      source: "tmpfs",
      options,
    })),
    ...lostFolder(profile).map((path) => ({
      destination: path,
      type: "bind",
      source: `${STAGED.root}${path}`,
      options: ["rbind", "ro", "nosuid", "nodev"],
    })),
    ...grants.map((path) => ({
      destination: path,
      type: "bind",
      source: `${STAGED.root}${path}`,
      options: ["rbind", write.includes(path) ? "rw" : "ro", "nosuid", "nodev"],
    })),
  ];
}

/** Grants that differ from what they lie in: those below a scratch folder, and each change from read to write. */
function ownGrants({ files: { read, write } }: Profile): readonly string[] {
  const all = [...read, ...write].sort();
  return all.filter((path) => {
    const around = all.filter((other) => other !== path && isWithin(path, other)).at(-1);
    if (around !== undefined) return write.includes(around) !== write.includes(path);
    return write.includes(path) || ["/tmp", INSIDE.home].some((scratch) => isWithin(path, scratch));
  });
}

function buildSteps(
  step: MountStep,
  { limits }: Profile,
  { ownerOf, runtime }: PlanFacts,
): readonly BuildStep[] {
  switch (step.kind) {
    case "bind": {
      const owner = ownerOf(step.source);
      return [{ ...step, ...(owner === undefined ? {} : { owner }) }];
    }
    case "scratch":
      // A guest's lies in the sentry's memory.
      return runtime.ownKernel ? [folder(step.point)] : [{ ...step, bytes: limits.scratchBytes }];
    case "kernel":
      return []; // the runtime's part
    case "link":
    case "empty-folder":
    case "empty-file":
      return [step];
    default:
      return step satisfies never;
  }
}
