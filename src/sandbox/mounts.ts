import { realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { GateError } from "../contract/errors.ts";
import type { Profile } from "../contract/profile.ts";
import { isWithin } from "../contract/within.ts";
import type { JoinedNetwork } from "./driver.ts";
import type { HostLayout } from "./host.ts";
import { LANDLOCK_TRIAL, type LandlockRules } from "./launcher.ts";
import { INSIDE } from "./user.ts";

/** One thing mounted in the sandbox, as the evidence must find it again. */
export interface PlannedMount {
  readonly point: string;
  readonly writable: boolean;
  /** The host path bound there; absent for file systems made for the sandbox. */
  readonly source?: string;
}

/** A small file in the sandbox: made by us, or the host's own. */
export interface PlannedFile {
  readonly path: string;
  /** Unset: what the host has at that path. */
  readonly content?: string;
}

/** What a driver does, in this order, to lay out what a tool sees. */
export type MountStep =
  | { readonly kind: "bind"; readonly point: string; readonly source: string; readonly writable: boolean }
  | { readonly kind: "link"; readonly point: string; readonly target: string }
  /** A writable file system of its own, as large as the profile's `scratchBytes`. */
  | { readonly kind: "scratch"; readonly point: string }
  /** An empty folder, or an empty file, over what is there. */
  | { readonly kind: "empty-folder" | "empty-file"; readonly point: string }
  /** `/proc` with `/proc/sys` read-only, and `/dev` read-only with a writable `/dev/shm`. */
  | { readonly kind: "kernel" };

export interface MountPlan {
  readonly steps: readonly MountStep[];
  readonly mounts: readonly PlannedMount[];
  /** Paths to hide that are not there: nothing can be laid over them, so they must still be absent at release. */
  readonly absent: readonly string[];
}

export interface MountFacts {
  /** What lies at the bottom: `hostRoot`, or what a driver makes of another root file system. */
  readonly base: readonly MountStep[];
  /** Of the paths to hide. */
  readonly kindOf: (path: string) => "dir" | "file" | "absent";
  /** Protected paths that are absent, where an empty folder stands for as long as the sandbox does. */
  readonly standIns: ReadonlySet<string>;
  /** Where the private copy of a path with staged writes lies; unset: none is staged. */
  readonly copyOf?: (path: string) => string;
}

/** Who a sandbox shows its tool to be; runtimes that map one user only show it as 0, without any right of root. */
export interface InsideUser {
  readonly uid: number;
  readonly gid: number;
}

/** The few files that are made rather than shared: they name nobody on the host. */
export function madeFiles({ uid, gid }: InsideUser): readonly PlannedFile[] {
  const root = uid === 0 ? "" : "root:x:0:0:root:/root:/usr/sbin/nologin\n";
  const rootGroup = gid === 0 ? "" : "root:x:0:\n";
  return [
    {
      path: "/etc/passwd",
      content: `${root}${INSIDE.name}:x:${uid}:${gid}::${INSIDE.home}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n`,
    },
    { path: "/etc/group", content: `${rootGroup}${INSIDE.name}:x:${gid}:\nnogroup:x:65534:\n` },
    { path: "/etc/nsswitch.conf", content: "passwd: files\ngroup: files\nhosts: files\nservices: files\n" },
    { path: "/etc/hosts", content: "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n" },
    { path: "/etc/resolv.conf", content: "" },
    { path: LANDLOCK_TRIAL, content: "" },
  ];
}

/** What lies over some of them where names are answered. A name that is refused is refused at once, and only asked once. */
export function networkFiles({ resolver }: JoinedNetwork): readonly PlannedFile[] {
  return [
    {
      path: "/etc/nsswitch.conf",
      content: "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    },
    { path: "/etc/resolv.conf", content: `nameserver ${resolver}\noptions timeout:2 attempts:2\n` },
  ];
}

/** Where programs look for the authorities that they trust, on Debian and on Fedora and their kin. */
const AUTHORITIES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
const JAVA_AUTHORITIES = ["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"];

/** A file of ours that lies over one of the host's. */
export interface LaidFile {
  readonly path: string;
  readonly point: string;
}

/**
 * The gate's own authorities over the system's, wherever the system has some.
 * @param root folder of the host that is the sandbox's root file system
 */
export function authorityFiles(
  { authorities, javaAuthorities }: JoinedNetwork,
  root: string,
): readonly LaidFile[] {
  const over = (path: string | undefined, points: readonly string[]): readonly LaidFile[] =>
    path === undefined
      ? []
      : points.filter((point) => isPlainFile(root, point)).map((point) => ({ path, point }));
  return [...over(authorities, AUTHORITIES), ...over(javaAuthorities, JAVA_AUTHORITIES)];
}

/** A file that no link leads to: a link of another root's would be followed on the host. */
function isPlainFile(root: string, point: string): boolean {
  const path = join(realpathSync(root), point);
  try {
    return realpathSync(path) === path && statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The small files of every sandbox whose root is the host's. */
export function plannedFiles({ etcFiles }: HostLayout, inside: InsideUser = INSIDE): readonly PlannedFile[] {
  return [...madeFiles(inside), ...etcFiles.map((path) => ({ path }))];
}

/** The host's programs and libraries. */
export function hostRoot({ system, links, etcFolders }: HostLayout): readonly MountStep[] {
  const bind = (point: string, source: string): MountStep => ({
    kind: "bind",
    point,
    source,
    writable: false,
  });
  return [
    ...system.map((path) => bind(path, path)),
    ...links.map(([point, target]): MountStep => ({ kind: "link", point, target })),
    ...etcFolders.map(([path, source]) => bind(path, source)),
  ];
}

/** Profile -> mounts, parents before what lies in them. Pure: the same profile and facts give the same plan. */
export function planMounts(profile: Profile, facts: MountFacts): MountPlan {
  // A profile that asks for copies is never given the trees themselves.
  if ((profile.files.staged === true) !== (facts.copyOf !== undefined))
    throw new GateError("ERR_INTERNAL", "staged writes need a copy, and only they do");
  const masked = planMasks(profile, facts);
  const steps: readonly MountStep[] = [
    ...facts.base,
    { kind: "kernel" },
    { kind: "scratch", point: "/tmp" },
    { kind: "scratch", point: INSIDE.home },
    { kind: "link", point: "/var/tmp", target: "/tmp" },
    ...grants(profile, facts.copyOf ?? ((path) => path)),
    ...masked.steps,
  ];
  return {
    steps,
    mounts: [{ point: "/", writable: false }, ...steps.flatMap(mountsOf)],
    absent: masked.absent,
  };
}

/** The plan's mounts as Landlock sees them; what is made in `/etc` and nowhere else lies in no mount of its own. */
export function landlockRules(mounts: readonly PlannedMount[]): LandlockRules {
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

/** A link that leads nowhere is absent: a cover for it would have to be laid on its target, which a driver would make. */
export function kindOfPath(path: string): "dir" | "file" | "absent" {
  const entry = statSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return "absent";
  return entry.isDirectory() ? "dir" : "file";
}

/** Parents before children, so that a nested grant is not covered by the outer one. */
function grants({ files: { read, write } }: Profile, copyOf: (path: string) => string): readonly MountStep[] {
  const bind = (path: string, writable: boolean): { path: string; writable: boolean } => ({ path, writable });
  return [...read.map((path) => bind(path, false)), ...write.map((path) => bind(path, true))]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, writable }) => ({ kind: "bind", point: path, source: copyOf(path), writable }));
}

function planMasks(
  profile: Profile,
  { kindOf, standIns, copyOf }: MountFacts,
): { readonly steps: readonly MountStep[]; readonly absent: readonly string[] } {
  const { hide } = profile.files;
  // In a private copy nothing needs to be protected: what is done to it there is seen, and refused.
  const protect = copyOf === undefined ? profile.files.protect : [];
  // A mount point cannot be renamed: with each folder on the way made one, no parent can be moved aside.
  const masked = [...protect, ...hide.filter((path) => kindOf(path) !== "absent")];
  const between = [...new Set(masked.flatMap((path) => foldersBetween(profile, path)))].sort();
  const bind = (path: string, writable: boolean): MountStep => ({
    kind: "bind",
    point: path,
    source: copyOf?.(path) ?? path,
    writable,
  });
  const outer = hide.filter((path) => !hide.some((other) => other !== path && isWithin(path, other)));
  const cover = (path: string): MountStep => ({
    kind: kindOf(path) === "dir" ? "empty-folder" : "empty-file",
    point: path,
  });
  return {
    steps: [
      ...between.map((path) => bind(path, true)),
      ...protect.map(
        (path): MountStep => (standIns.has(path) ? { kind: "empty-folder", point: path } : bind(path, false)),
      ),
      ...outer.filter((path) => kindOf(path) !== "absent").map(cover),
    ],
    absent: outer.filter((path) => kindOf(path) === "absent"),
  };
}

/** The folders above `path` and below the grant that holds it, where that grant may be written. */
export function foldersBetween({ files }: Profile, path: string): readonly string[] {
  const holding = [...files.read, ...files.write].filter((grant) => isWithin(path, grant));
  const root = holding.toSorted((a, b) => b.length - a.length)[0];
  const folders: string[] = [];
  if (root === undefined || root === path || !files.write.includes(root)) return folders;
  for (let folder = dirname(path); folder !== root; folder = dirname(folder)) folders.push(folder);
  return folders;
}

function mountsOf(step: MountStep): readonly PlannedMount[] {
  switch (step.kind) {
    case "bind":
      return [{ point: step.point, writable: step.writable, source: step.source }];
    case "link":
      return [];
    case "scratch":
      return [{ point: step.point, writable: true }];
    case "empty-folder":
    case "empty-file":
      return [{ point: step.point, writable: false }];
    case "kernel":
      return [
        { point: "/proc", writable: true },
        { point: "/proc/sys", writable: false },
        { point: "/dev/shm", writable: true },
        { point: "/dev", writable: false },
      ];
    default:
      return step satisfies never;
  }
}
