import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { arch, platform, release } from "node:os";
import { resolve } from "node:path";
import type { Controlled, ControllerHomes } from "./limits/cgroup-group.ts";
import { findHomes, readCgroupFacts } from "./limits/detect.ts";
import { nativeProgram } from "./native.ts";

/** What a diagnosis depends on, read in one place: any host can be described, and diagnosed in a test. */
export interface HostFacts {
  readonly node: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** `uname -r`. */
  readonly kernel: string;
  /** `ID` and `VERSION_ID` of os-release(5). */
  readonly distribution: { readonly id: string; readonly version: string };
  readonly uid: number;
  readonly container?: "docker" | "podman" | "kubernetes" | "another";
  readonly ci?: "GitHub Actions" | "GitLab CI" | "another";
  readonly wsl?: 1 | 2;
  readonly userns: {
    /** The kernel has them at all. */
    readonly known: boolean;
    /** user.max_user_namespaces */
    readonly max?: number;
    /** kernel.unprivileged_userns_clone, Debian's and Ubuntu's own. */
    readonly unprivileged?: boolean;
    /** kernel.apparmor_restrict_unprivileged_userns, Ubuntu 23.10 and later. */
    readonly restrictedByAppArmor?: boolean;
  };
  /** systemd(1) is running. */
  readonly systemd: boolean;
  /** Programs that a sandbox sees, of those that were asked for. */
  readonly programs: readonly string[];
  readonly packageManager?: PackageManager;
  /** Of each limit, the cgroup that this process may make groups in. */
  readonly cgroups: Partial<
    Readonly<Record<Controlled, { readonly version: 1 | 2; readonly folder: string }>>
  >;
  /** The native launcher was built; else bash serves. */
  readonly nativeLauncher: boolean;
  readonly compiler: boolean;
  /** Where this package lies. */
  readonly packageRoot: string;
}

const MANAGERS = {
  "apt-get": "/usr/bin/apt-get",
  dnf: "/usr/bin/dnf",
  apk: "/sbin/apk",
  pacman: "/usr/bin/pacman",
  zypper: "/usr/bin/zypper",
} as const;
export type PackageManager = keyof typeof MANAGERS;

/** Where a sandbox looks for programs: it does not see what lies under a home folder. */
const FOLDERS = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/** @param programs looked for by name */
export function readHostFacts(programs: readonly string[] = []): HostFacts {
  const kernel = release();
  const [container, ci, wsl] = [containerHere(), ciHere(), wslOf(kernel)];
  const manager = Object.entries(MANAGERS).find(([, path]) => existsSync(path))?.[0] as
    | PackageManager
    | undefined;
  return {
    node: process.versions.node,
    platform: platform(),
    arch: arch(),
    kernel,
    distribution: readDistribution(),
    uid: process.geteuid?.() ?? 0,
    ...(container === undefined ? {} : { container }),
    ...(ci === undefined ? {} : { ci }),
    ...(wsl === undefined ? {} : { wsl }),
    userns: readUserns(),
    systemd: existsSync("/run/systemd/system"),
    programs: programs.filter((name) => findProgram(name) !== undefined),
    ...(manager === undefined ? {} : { packageManager: manager }),
    cgroups: readCgroups(),
    nativeLauncher: nativeProgram("launch") !== undefined,
    compiler: findProgram("cc") !== undefined,
    packageRoot: resolve(import.meta.dirname, "../.."),
  };
}

function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The files that Docker and podman leave, and the variables that Kubernetes and systemd set (systemd.io, Container Interface). */
function containerHere(): HostFacts["container"] {
  if (process.env["KUBERNETES_SERVICE_HOST"] !== undefined) return "kubernetes";
  if (existsSync("/run/.containerenv")) return "podman";
  if (existsSync("/.dockerenv")) return "docker";
  return process.env["container"] === undefined ? undefined : "another";
}

function ciHere(): HostFacts["ci"] {
  if (process.env["GITHUB_ACTIONS"] === "true") return "GitHub Actions";
  if (process.env["GITLAB_CI"] === "true") return "GitLab CI";
  return process.env["CI"] === "true" ? "another" : undefined;
}

/** `4.4.0-19041-Microsoft` is WSL 1, `5.15.153.1-microsoft-standard-WSL2` the other. */
export function wslOf(kernel: string): 1 | 2 | undefined {
  if (/microsoft-standard/.test(kernel)) return 2;
  return /-Microsoft$/.test(kernel) ? 1 : undefined;
}

function readDistribution(): HostFacts["distribution"] {
  const text = readText("/etc/os-release") ?? "";
  const value = (key: string): string => new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  return { id: value("ID"), version: value("VERSION_ID") };
}

function readUserns(): HostFacts["userns"] {
  const max = readText("/proc/sys/user/max_user_namespaces");
  const unprivileged = readText("/proc/sys/kernel/unprivileged_userns_clone");
  const restricted = readText("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
  return {
    known: existsSync("/proc/self/ns/user"),
    ...(max === undefined ? {} : { max: Number(max) }),
    ...(unprivileged === undefined ? {} : { unprivileged: unprivileged === "1" }),
    ...(restricted === undefined ? {} : { restrictedByAppArmor: restricted === "1" }),
  };
}

function readCgroups(): ControllerHomes {
  return existsSync("/proc/self/cgroup") ? findHomes(readCgroupFacts()) : {};
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // this kernel has no such knob
  }
}
