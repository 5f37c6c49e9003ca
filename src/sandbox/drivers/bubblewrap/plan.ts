import type { Profile } from "../../../contract/profile.ts";
import type { HostLayout } from "../../host.ts";
import { FD, launcherCommand } from "../../launcher.ts";
import type { Limited } from "../../limits/backend.ts";
import { rlimitsFor } from "../../limits/rlimit.ts";
import {
  hostRoot,
  type LaidFile,
  landlockRules,
  type MountStep,
  type PlannedFile,
  type PlannedMount,
  planMounts,
  plannedFiles,
} from "../../mounts.ts";
import { INSIDE } from "../../user.ts";

export interface Plan {
  /** bubblewrap's arguments, launcher and all. */
  readonly args: readonly string[];
  readonly mounts: readonly PlannedMount[];
  /** Paths to hide that are not there: nothing can be laid over them, so they must still be absent at release. */
  readonly absent: readonly string[];
  /** The launcher is the namespace's first process; else bubblewrap's own is, and the launcher its child. */
  readonly launcherIsFirst: boolean;
  /** In the order of their descriptors, from `FD.data`. */
  readonly files: readonly PlannedFile[];
  /** In the order of their descriptors, from `FD.late`. */
  readonly late: readonly LaidFile[];
}

/** What the plan must know of this host beside the profile. */
export interface PlanFacts {
  readonly host: HostLayout;
  /** Of the paths to hide. */
  readonly kindOf: (path: string) => "dir" | "file" | "absent";
  /** Protected paths that are absent, where an empty folder stands for as long as the sandbox does. */
  readonly standIns: ReadonlySet<string>;
  /** Where the private copy of a path with staged writes lies; unset: none is staged. */
  readonly copyOf?: (path: string) => string;
  /** Limits that a cgroup enforces; the others become rlimits. */
  readonly enforced: ReadonlySet<Limited>;
  /** Whether `native/launch.c` was built; else bash serves. */
  readonly native: boolean;
  /** From where a granted path is bound; unset: from itself. */
  readonly sourceOf?: (path: string) => string;
  /** Where names are answered, and only there. */
  readonly network?: PlannedNetwork;
}

/** What a network of the gate's changes in a sandbox's files. */
export interface PlannedNetwork {
  /** Written over the small files. */
  readonly names: readonly LaidFile[];
  /** Mounted over the host's own. */
  readonly authorities: readonly LaidFile[];
}

const NAMESPACES = ["user", "ipc", "pid", "uts", "cgroup"].map((name) => `--unshare-${name}`);
const IDENTITY = [
  "--uid",
  `${INSIDE.uid}`,
  "--gid",
  `${INSIDE.gid}`,
  "--cap-drop",
  "ALL",
  "--hostname",
  "sandbox",
];
/** Killed with the gateway; no controlling terminal to push input into. */
const LIFETIME = ["--die-with-parent", "--new-session"];

/** The native launcher comes in as an open file after the small ones: nothing of it is seen in the file system. */
export function launcherDescriptor(files: readonly PlannedFile[]): number {
  return FD.data + files.length;
}

/** Profile -> bubblewrap arguments. Pure: the same profile and facts give the same plan. */
export function planBubblewrap(profile: Profile, facts: PlanFacts): Plan {
  const { steps, mounts, absent } = planMounts(profile, { ...facts, base: hostRoot(facts.host) });
  const sourceOf = facts.sourceOf ?? ((path: string): string => path);
  const files = plannedFiles(facts.host);
  // bash reaps nothing, and a watched run has a stage of its own in between: bubblewrap's first process stays.
  const isWatched = profile.explainSyscalls === true || profile.observeFiles === true;
  const launcherIsFirst = facts.native && !isWatched;
  const fileArgs = files.flatMap((file, index) => [
    "--perms",
    "0444",
    "--file",
    `${FD.data + index}`,
    file.path,
  ]);
  const { network } = facts;
  const late = [...(network?.names ?? []), ...(network?.authorities ?? [])];
  const lateArgs = late.map(({ point }, index) => {
    const how = index < (network?.names.length ?? 0) ? "--file" : "--ro-bind-data";
    return ["--perms", "0444", how, `${FD.late + index}`, point];
  });
  const authorities = network?.authorities.map(({ point }) => ({ point, writable: false })) ?? [];
  const allMounts = [...mounts, ...authorities];
  return {
    args: [
      ...NAMESPACES,
      // A network of the gate's was joined before.
      ...(network === undefined ? ["--unshare-net"] : []),
      "--disable-userns",
      ...IDENTITY,
      ...LIFETIME,
      ...(launcherIsFirst ? ["--as-pid-1"] : []),
      "--clearenv",
      ...fileArgs,
      ...lateArgs.slice(0, network?.names.length ?? 0).flat(),
      ...steps.flatMap((step) => argumentsOf(step, profile.limits.scratchBytes, sourceOf)),
      ...lateArgs.slice(network?.names.length ?? 0).flat(),
      // A tool that is granted nothing of the workspace still starts there, in an empty folder.
      "--dir",
      profile.workingDirectory,
      "--remount-ro",
      "/",
      "--chdir",
      profile.workingDirectory,
      "--info-fd",
      `${FD.info}`,
      "--seccomp",
      `${FD.seccomp}`,
      "--",
      ...launcherCommand({
        ...(facts.native ? { native: `/proc/self/fd/${launcherDescriptor(files)}` } : {}),
        ...(launcherIsFirst ? { init: "late" } : {}),
        rlimits: rlimitsFor(profile.limits, facts.enforced),
        landlock: landlockRules(allMounts),
      }),
    ],
    mounts: allMounts,
    absent,
    launcherIsFirst,
    files,
    late,
  };
}

function argumentsOf(
  step: MountStep,
  scratchBytes: number,
  sourceOf: (path: string) => string,
): readonly string[] {
  switch (step.kind) {
    case "bind":
      return [step.writable ? "--bind" : "--ro-bind", sourceOf(step.source), step.point];
    case "link":
      return ["--symlink", step.target, step.point];
    case "scratch":
      return scratch(step.point, scratchBytes);
    case "empty-folder":
      return ["--size", "4096", "--perms", "0555", "--tmpfs", step.point, "--remount-ro", step.point];
    case "empty-file":
      return ["--ro-bind", "/dev/null", step.point];
    case "kernel":
      return [
        // bubblewrap covers `/proc/sys` only when an access check says that it must (sandbox.md, "Facts that bite").
        ...["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"],
        ...scratch("/dev/shm", scratchBytes),
        ...["--remount-ro", "/dev"],
      ];
    default:
      return step satisfies never;
  }
}

function scratch(point: string, bytes: number): readonly string[] {
  return ["--size", `${bytes}`, "--perms", "1777", "--tmpfs", point];
}
