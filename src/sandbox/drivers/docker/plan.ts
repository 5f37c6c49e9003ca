import type { Profile } from "../../../contract/profile.ts";
import { bashLauncher } from "../../launcher.ts";
import { LIMITED } from "../../limits/backend.ts";
import { type RlimitName, rlimitsFor, SANDBOX_TASKS } from "../../limits/rlimit.ts";
import { type MountFacts, type MountStep, type PlannedMount, planMounts } from "../../mounts.ts";
import type { HostUser } from "../../user.ts";
import type { ImageFacts } from "./image.ts";
import { CHANNELS_INSIDE, INIT_FD, initCommand, type KitFile } from "./init.ts";

export interface Plan {
  /** What `POST /containers/create` is sent. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly mounts: readonly PlannedMount[];
  /** Paths to hide that are not there: nothing can be laid over them, so they must still be absent at release. */
  readonly absent: readonly string[];
}

/** What the plan must know beside the profile. */
export interface PlanFacts extends Pick<MountFacts, "kindOf" | "standIns" | "copyOf"> {
  readonly image: ImageFacts;
  readonly kit: readonly KitFile[];
  /** The host folder with this container's pipes. */
  readonly channels: string;
  /** Small files of ours, bound over what the image has. */
  readonly files: readonly KitFile[];
  readonly user: HostUser;
  /** The profile, as JSON. */
  readonly seccomp: string;
  readonly runtime: string;
  /** Of the daemon's host. */
  readonly processors: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** Interfaces of the kernel that tell of the host; `/sys` is of no use to a tool. */
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
  "/sys",
];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const ISOLATION = {
  Privileged: false,
  ReadonlyRootfs: true,
  CapDrop: ["ALL"],
  NetworkMode: "none",
  IpcMode: "private",
  CgroupnsMode: "private",
  PidMode: "",
  UTSMode: "",
  Init: false,
  AutoRemove: false,
  RestartPolicy: { Name: "no" },
  LogConfig: { Type: "none" },
  Devices: [],
} as const;

/** Profile -> the body of a container. Pure: the same profile and facts give the same plan. */
export function planContainer(profile: Profile, facts: PlanFacts): Plan {
  const { image, user } = facts;
  const own: readonly MountStep[] = [
    ...[...facts.files, ...facts.kit].map(({ source, point }) => readOnly(source, point)),
    readOnly(facts.channels, CHANNELS_INSIDE),
    // An image's volume would be a folder of the daemon's that stays.
    ...image.volumes.map((point): MountStep => ({ kind: "scratch", point })),
  ];
  const { steps, mounts, absent } = planMounts(profile, { ...facts, base: own });
  const command = initCommand(bashLauncher(INIT_FD.go));
  return {
    body: {
      Image: image.id,
      Hostname: "sandbox",
      User: `${user.uid}:${user.gid}`,
      // A name without a value takes the image's variable away; the first two are the Engine's own.
      Env: [...new Set(["PATH", "HOSTNAME", ...image.variables])],
      WorkingDir: profile.workingDirectory,
      Entrypoint: command.entrypoint,
      Cmd: command.arguments,
      Healthcheck: { Test: ["NONE"] },
      NetworkDisabled: true,
      Labels: facts.labels,
      HostConfig: {
        ...ISOLATION,
        ...limitsOf(profile, facts),
        ...mountsOf(steps, profile, user),
        Runtime: facts.runtime,
        SecurityOpt: ["no-new-privileges", `seccomp=${facts.seccomp}`],
        ReadonlyPaths: READ_ONLY,
      },
    },
    mounts: [...mounts.map(asOfTheEngine), { point: "/sys", writable: false }],
    absent,
  };
}

function readOnly(source: string, point: string): MountStep {
  return { kind: "bind", source, point, writable: false };
}

/** The Engine leaves `/dev` writable, and root's: a user that is not root makes nothing in it. */
function asOfTheEngine(mount: PlannedMount): PlannedMount {
  return mount.point === "/dev" ? { point: "/dev", writable: true } : mount;
}

function limitsOf({ limits }: Profile, { processors }: PlanFacts): Readonly<Record<string, unknown>> {
  return {
    // The daemon refuses more than there are.
    NanoCpus: Math.min(limits.cpusMilli, processors * 1000) * 1_000_000,
    Memory: limits.memoryBytes,
    MemorySwap: limits.memoryBytes,
    PidsLimit: limits.processes + SANDBOX_TASKS,
    OomKillDisable: false,
    ShmSize: limits.scratchBytes,
    Ulimits: rlimitsFor(limits, new Set(LIMITED)).map(({ name, soft, hard }) => ({
      Name: ULIMITS[name],
      Soft: soft,
      Hard: hard,
    })),
  };
}

const ULIMITS: Readonly<Record<RlimitName, string>> = {
  cpu: "cpu",
  fileSize: "fsize",
  data: "data",
  core: "core",
  processes: "nproc",
  openFiles: "nofile",
};

/**
 * The Engine sorts mounts by depth, and lays what is masked over all of them. Of two binds on one point the later
 * counts. No bind brings in what the host mounts below it: a read-only mount would not hold for that.
 */
function mountsOf(
  steps: readonly MountStep[],
  { limits }: Profile,
  { uid, gid }: HostUser,
): Readonly<Record<string, unknown>> {
  const binds = new Map(steps.flatMap((step) => (step.kind === "bind" ? [[step.point, step]] : [])));
  const points = (...kinds: readonly MountStep["kind"][]): readonly string[] =>
    steps.flatMap((step) => ("point" in step && kinds.includes(step.kind) ? [step.point] : []));
  // runc gives a new file system the mode of the image's folder below it, so the tool's user owns it besides.
  const scratch = `rw,exec,nosuid,nodev,mode=1777,uid=${uid},gid=${gid},size=${limits.scratchBytes}`;
  return {
    Mounts: [...binds.values()].map(({ source, point, writable }) => ({
      Type: "bind",
      Source: source,
      Target: point,
      ReadOnly: !writable,
      BindOptions: { Propagation: "rprivate", NonRecursive: true },
    })),
    Tmpfs: Object.fromEntries(points("scratch").map((point) => [point, scratch])),
    MaskedPaths: [...MASKED, ...points("empty-folder", "empty-file")],
  };
}
