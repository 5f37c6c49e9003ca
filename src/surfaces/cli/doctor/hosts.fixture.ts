import type { Controls } from "../../../contract/execution.ts";
import { CONTROLS, type ControlName } from "../../../contract/tier.ts";
import type { HostFacts } from "../../../sandbox/host-facts.ts";
import type { Examined } from "./diagnose.ts";
import type { SurveyedDriver } from "./survey.ts";

/** Hosts as people have them: what `doctor` would read there. */
type HostName =
  | "debian-root"
  | "ubuntu-24.04-user"
  | "github-actions"
  | "github-actions-container"
  | "gitlab-docker"
  | "docker"
  | "podman"
  | "kubernetes"
  | "wsl1"
  | "wsl2"
  | "no-user-namespaces"
  | "fedora-without-bubblewrap";

const FACTS: HostFacts = {
  node: "24.21.0",
  platform: "linux",
  arch: "x64",
  kernel: "6.1.0-32-amd64",
  distribution: { id: "debian", version: "12" },
  uid: 1000,
  userns: { known: true, max: 63_000 },
  systemd: true,
  programs: ["rg", "git", "jq"],
  packageManager: "apt-get",
  cgroups: {},
  nativeLauncher: true,
  compiler: true,
  packageRoot: "/opt/callgate",
};

const V2 = { version: 2, folder: "/sys/fs/cgroup" } as const;
const ALL_V2: HostFacts["cgroups"] = { memory: V2, processes: V2, cpu: V2, share: V2 };
const UBUNTU = {
  distribution: { id: "ubuntu", version: "24.04" },
  kernel: "6.8.0-57-generic",
  userns: { known: true, max: 63_000, unprivileged: true, restrictedByAppArmor: true },
};

/** Every control enforced, but for these. */
function controls(without: readonly ControlName[] = []): Controls {
  const entries = CONTROLS.map((name) => [
    name,
    without.includes(name)
      ? { state: "unavailable", basis: "verified", evidence: `no ${name} here` }
      : { state: "enforced", basis: "verified", evidence: `${name} read from the kernel` },
  ]);
  return Object.fromEntries(entries) as Controls;
}

function works(without: readonly ControlName[] = []): SurveyedDriver {
  return {
    name: "bubblewrap",
    isolation: ["process"],
    diagnosis: { usable: true, detail: "bubblewrap 0.9.0 at /usr/bin/bwrap" },
    controls: controls(without),
    here: { built: true },
  };
}

function fails(detail: string, remedy = "run where user namespaces are allowed"): SurveyedDriver {
  return { name: "bubblewrap", isolation: ["process"], diagnosis: { usable: false, detail, remedy } };
}

const RUNSC_MISSING: SurveyedDriver = {
  name: "runsc",
  isolation: ["gvisor"],
  diagnosis: { usable: false, detail: "runsc is not installed", remedy: "apt-get install runsc" },
};
const DOCKER_WORKS: SurveyedDriver = {
  name: "docker",
  isolation: ["container"],
  diagnosis: { usable: true, detail: "docker 26.1.5, runtime runc" },
  controls: controls(),
  here: { built: true },
};

const DOCKER_STOPPED: SurveyedDriver = {
  name: "docker",
  isolation: ["container"],
  diagnosis: {
    usable: false,
    detail: "the Docker daemon does not answer",
    remedy: "start it (`systemctl start docker`), or name its socket in `sandbox.docker.socket`",
  },
};

const NO_NAMESPACE = fails("bwrap: No permissions to create new namespace");
const LIMITS = ["memory", "processes", "cpu"] as const;

interface Described {
  readonly facts: Partial<HostFacts>;
  readonly drivers: readonly SurveyedDriver[];
}

const HOSTS: Readonly<Record<HostName, Described>> = {
  "debian-root": {
    facts: { uid: 0, cgroups: ALL_V2, nativeLauncher: false, compiler: false },
    drivers: [works(["lsm"]), RUNSC_MISSING],
  },
  "ubuntu-24.04-user": {
    facts: UBUNTU,
    drivers: [fails("bwrap: setting up uid map: Permission denied"), RUNSC_MISSING],
  },
  "github-actions": {
    facts: { ...UBUNTU, uid: 1001, ci: "GitHub Actions" },
    drivers: [fails("bwrap: setting up uid map: Permission denied"), DOCKER_WORKS],
  },
  "github-actions-container": {
    facts: { uid: 0, container: "docker", ci: "GitHub Actions", systemd: false },
    drivers: [NO_NAMESPACE],
  },
  "gitlab-docker": {
    facts: { uid: 0, container: "docker", ci: "GitLab CI", systemd: false, programs: ["git"] },
    drivers: [NO_NAMESPACE],
  },
  docker: { facts: { uid: 0, container: "docker", systemd: false }, drivers: [NO_NAMESPACE] },
  podman: {
    facts: { container: "podman", systemd: false, kernel: "6.8.9-300.fc40.x86_64" },
    drivers: [fails("bwrap: Can't mount proc on /newroot/proc: Operation not permitted")],
  },
  kubernetes: { facts: { uid: 0, container: "kubernetes", systemd: false }, drivers: [NO_NAMESPACE] },
  wsl1: {
    facts: { kernel: "4.4.0-19041-Microsoft", wsl: 1, systemd: false, userns: { known: false } },
    drivers: [fails("bwrap: Creating new namespace failed: Invalid argument")],
  },
  wsl2: {
    facts: { kernel: "5.15.153.1-microsoft-standard-WSL2", wsl: 2 },
    drivers: [works([...LIMITS, "lsm"]), RUNSC_MISSING, DOCKER_STOPPED],
  },
  "no-user-namespaces": {
    facts: { userns: { known: true, max: 0 } },
    drivers: [fails("bwrap: Creating new namespace failed: No space left on device"), DOCKER_WORKS],
  },
  "fedora-without-bubblewrap": {
    facts: { distribution: { id: "fedora", version: "42" }, packageManager: "dnf", programs: [] },
    drivers: [fails("bubblewrap is not installed", "apt-get install bubblewrap"), RUNSC_MISSING],
  },
};

export const HOST_NAMES: readonly HostName[] = Object.keys(HOSTS) as HostName[];

export function hostNamed(name: HostName): Examined {
  const { facts, drivers } = HOSTS[name];
  const whole: HostFacts = { ...FACTS, ...facts };
  return {
    facts: whole,
    drivers,
    state: [{ group: "state", name: "folder", state: "ok", detail: "/home/ann/.local/state/callgate" }],
    isolation: "process",
    root: "/home/ann/project",
    user: { uid: whole.uid === 0 ? 65_533 : whole.uid, gid: whole.uid === 0 ? 65_533 : whole.uid },
  };
}
