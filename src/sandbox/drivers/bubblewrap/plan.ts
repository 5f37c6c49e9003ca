import { dirname } from "node:path";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../grants.ts";
import type { HostLayout } from "../../host.ts";
import { FD, LANDLOCK_TRIAL, type LandlockRules, launcherCommand } from "../../launcher.ts";
import type { Limited } from "../../limits/backend.ts";
import { rlimitsFor } from "../../limits/rlimit.ts";
import { INSIDE } from "../../user.ts";

/** One thing mounted in the sandbox, as the evidence must find it again. */
export interface PlannedMount {
  readonly point: string;
  readonly writable: boolean;
  /** The host path bound there; absent for file systems made for the sandbox. */
  readonly source?: string;
}

/** A small file copied into the sandbox by descriptor: made by us, or the host's own. */
export interface PlannedFile {
  readonly path: string;
  /** Unset: what the host has at that path. */
  readonly content?: string;
}

export interface Plan {
  /** bubblewrap's arguments, launcher and all. */
  readonly args: readonly string[];
  readonly mounts: readonly PlannedMount[];
  /** Paths to hide that are not there: nothing can be laid over them, so they must still be absent at release. */
  readonly absent: readonly string[];
  /** In the order of their descriptors, from `FD.data`. */
  readonly files: readonly PlannedFile[];
}

/** What the plan must know of this host beside the profile. */
export interface PlanFacts {
  readonly host: HostLayout;
  /** Of the paths to hide. */
  readonly kindOf: (path: string) => "dir" | "file" | "absent";
  /** Limits that a cgroup enforces; the others become rlimits. */
  readonly enforced: ReadonlySet<Limited>;
  /** Whether `native/launch.c` was built; else bash serves. */
  readonly native: boolean;
  /** From where a granted path is bound; unset: from itself. */
  readonly sourceOf?: (path: string) => string;
}

/** The few files that are made rather than shared: they name nobody on the host. */
const MADE_FILES: readonly PlannedFile[] = [
  {
    path: "/etc/passwd",
    content: `root:x:0:0:root:/root:/usr/sbin/nologin\n${INSIDE.name}:x:${INSIDE.uid}:${INSIDE.gid}::${INSIDE.home}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n`,
  },
  { path: "/etc/group", content: `root:x:0:\n${INSIDE.name}:x:${INSIDE.gid}:\nnogroup:x:65534:\n` },
  { path: "/etc/nsswitch.conf", content: "passwd: files\ngroup: files\nhosts: files\nservices: files\n" },
  { path: "/etc/hosts", content: "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n" },
  { path: "/etc/resolv.conf", content: "" },
  { path: LANDLOCK_TRIAL, content: "" },
];

const NAMESPACES = ["--unshare-all", "--unshare-user", "--disable-userns"];
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
  const { args, mounts, absent } = new MountList(profile, facts).build();
  const files: readonly PlannedFile[] = [...MADE_FILES, ...facts.host.etcFiles.map((path) => ({ path }))];
  const fileArgs = files.flatMap((file, index) => [
    "--perms",
    "0444",
    "--file",
    `${FD.data + index}`,
    file.path,
  ]);
  return {
    args: [
      ...NAMESPACES,
      ...IDENTITY,
      ...LIFETIME,
      "--clearenv",
      ...fileArgs,
      ...args,
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
        rlimits: rlimitsFor(profile.limits, facts.enforced),
        landlock: landlockRules(mounts),
      }),
    ],
    mounts,
    absent,
    files,
  };
}

/** The plan's mounts as Landlock sees them; what is made in `/etc` and nowhere else lies in no mount of its own. */
function landlockRules(mounts: readonly PlannedMount[]): LandlockRules {
  const devices = ["/dev", "/proc"];
  const points = mounts.filter(
    ({ point }) => point !== "/" && point !== "/proc/sys" && !devices.includes(point),
  );
  return {
    list: ["/"],
    read: ["/etc", ...points.filter((mount) => !mount.writable).map((mount) => mount.point)],
    write: points.filter((mount) => mount.writable).map((mount) => mount.point),
    devices,
  };
}

/** Collects bubblewrap's mount arguments and, beside each, what the evidence should find. */
class MountList {
  readonly #args: string[] = [];
  readonly #mounts: PlannedMount[] = [];
  readonly #absent: string[] = [];
  readonly #profile: Profile;
  readonly #facts: PlanFacts;

  constructor(profile: Profile, facts: PlanFacts) {
    this.#profile = profile;
    this.#facts = facts;
  }

  build(): Pick<Plan, "args" | "mounts" | "absent"> {
    const { host } = this.#facts;
    this.#mounts.push({ point: "/", writable: false });
    for (const path of host.system) this.#bind(path, false);
    for (const [path, target] of host.links) this.#args.push("--symlink", target, path);
    for (const [path, source] of host.etcFolders) this.#bind(path, false, source);
    this.#kernel();
    for (const path of ["/tmp", INSIDE.home]) this.#scratch(path);
    this.#args.push("--symlink", "/tmp", "/var/tmp");
    this.#granted();
    this.#masked();
    return { args: this.#args, mounts: this.#mounts, absent: this.#absent };
  }

  #kernel(): void {
    // bubblewrap covers `/proc/sys` only when an access check says that it must (sandbox.md, "Facts that bite").
    this.#args.push("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev");
    this.#mounts.push({ point: "/proc", writable: true }, { point: "/proc/sys", writable: false });
    this.#scratch("/dev/shm");
    this.#args.push("--remount-ro", "/dev");
    this.#mounts.push({ point: "/dev", writable: false });
  }

  /** Parents before children, so that a nested grant is not covered by the outer one. */
  #granted(): void {
    const { read, write } = this.#profile.files;
    const grants = [
      ...read.map((path) => ({ path, writable: false })),
      ...write.map((path) => ({ path, writable: true })),
    ];
    for (const { path, writable } of grants.sort((a, b) => (a.path < b.path ? -1 : 1)))
      this.#bind(path, writable);
  }

  #masked(): void {
    const { hide, protect } = this.#profile.files;
    // A mount point cannot be renamed: with each folder on the way made one, no parent can be moved aside.
    const masked = [...protect, ...hide.filter((path) => this.#facts.kindOf(path) !== "absent")];
    const between = masked.flatMap((path) => foldersBetween(this.#profile, path));
    for (const path of [...new Set(between)].sort()) this.#bind(path, true);
    for (const path of protect) this.#bind(path, false);
    for (const path of hide) {
      if (hide.some((other) => other !== path && isWithin(path, other))) continue;
      const kind = this.#facts.kindOf(path);
      if (kind === "absent") {
        this.#absent.push(path);
        continue;
      }
      if (kind === "dir") {
        this.#args.push("--size", "4096", "--perms", "0555", "--tmpfs", path, "--remount-ro", path);
      } else {
        this.#args.push("--ro-bind", "/dev/null", path);
      }
      this.#mounts.push({ point: path, writable: false });
    }
  }

  #scratch(path: string): void {
    this.#args.push("--size", `${this.#profile.limits.scratchBytes}`, "--perms", "1777", "--tmpfs", path);
    this.#mounts.push({ point: path, writable: true });
  }

  #bind(path: string, writable: boolean, source: string = path): void {
    const from = this.#facts.sourceOf?.(source) ?? source;
    this.#args.push(writable ? "--bind" : "--ro-bind", from, path);
    this.#mounts.push({ point: path, writable, source });
  }
}

/** The folders above `path` and below the grant that holds it, where that grant may be written. */
function foldersBetween({ files }: Profile, path: string): readonly string[] {
  const holding = [...files.read, ...files.write].filter((grant) => isWithin(path, grant));
  const root = holding.toSorted((a, b) => b.length - a.length)[0];
  const folders: string[] = [];
  if (root === undefined || root === path || !files.write.includes(root)) return folders;
  for (let folder = dirname(path); folder !== root; folder = dirname(folder)) folders.push(folder);
  return folders;
}
