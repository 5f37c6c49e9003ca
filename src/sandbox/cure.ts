import type { HostFacts, PackageManager } from "./host-facts.ts";

/** What is to be done about something, by whoever reads it. */
export interface Cure {
  /** To be typed, or to be written where `where` says. */
  readonly command: string;
  /** Why that mends it. */
  readonly why: string;
  /** Unset: in this shell. */
  readonly where?: string;
}

const INSTALL: Readonly<Record<PackageManager, string>> = {
  "apt-get": "apt-get install",
  dnf: "dnf install",
  apk: "apk add",
  pacman: "pacman -S",
  zypper: "zypper install",
};

/** Each command of a line as root. */
export function asRoot({ uid }: HostFacts, command: string): string {
  if (uid === 0) return command;
  return command
    .split(" && ")
    .map((one) => `sudo ${one}`)
    .join(" && ");
}

export function installCommand(facts: HostFacts, name: string): string {
  const { packageManager } = facts;
  if (packageManager === undefined) return `install the package ${name}`;
  return asRoot(facts, `${INSTALL[packageManager]} ${name}`);
}

/**
 * What lets an unprivileged process make a user namespace and mount a fresh `/proc` in it, which is what bubblewrap
 * needs; in the order in which to do it. Empty where nothing of it is known to be in the way.
 */
export function usernsCures(facts: HostFacts): readonly Cure[] {
  const { wsl, userns, container } = facts;
  if (wsl === 1) {
    const why = "WSL 1 is no Linux kernel and has no namespaces; WSL 2 is one";
    return [{ command: "wsl.exe --set-version <DISTRIBUTION> 2", why, where: "in PowerShell" }];
  }
  if (!userns.known) {
    const why = "this kernel was built without user namespaces (CONFIG_USER_NS)";
    return [{ command: "boot a kernel that has CONFIG_USER_NS=y", why }];
  }
  const host = container === undefined ? {} : { where: "on the container's host" };
  if (userns.max === 0) {
    const command = asRoot(facts, "sysctl -w user.max_user_namespaces=15000");
    return [{ command, why: "this kernel is told to allow no user namespaces", ...host }];
  }
  if (userns.unprivileged === false) {
    const command = asRoot(facts, "sysctl -w kernel.unprivileged_userns_clone=1");
    return [{ command, why: "this kernel is told to keep user namespaces to root", ...host }];
  }
  const restricted = userns.restrictedByAppArmor === true ? [{ ...appArmorCure(facts), ...host }] : [];
  return [...restricted, ...containerCures(facts)];
}

function appArmorCure(facts: HostFacts): Cure {
  const profile = `${facts.packageRoot}/native/apparmor/callgate-bwrap`;
  return {
    command: asRoot(
      facts,
      `install -m 644 ${profile} /etc/apparmor.d/callgate-bwrap && apparmor_parser -r /etc/apparmor.d/callgate-bwrap`,
    ),
    why: "AppArmor keeps programs without a profile from using user namespaces (Ubuntu 23.10 and later); this one lets bubblewrap, whoever starts it",
  };
}

const CONTAINER_WHY =
  "a container's own seccomp filter and masked /proc keep bubblewrap from building a sandbox in it";

function containerCures({ container, ci }: HostFacts): readonly Cure[] {
  const docker =
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined";
  switch (container) {
    case undefined:
      return [];
    case "kubernetes":
      return [
        {
          command:
            "hostUsers: false\ncontainers:\n- securityContext:\n    procMount: Unmasked\n    seccompProfile: { type: Unconfined }\n    appArmorProfile: { type: Unconfined }",
          why: CONTAINER_WHY,
          where: "in the pod's spec (Kubernetes 1.33 or later)",
        },
      ];
    case "podman":
      return [
        {
          command: "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL …",
          why: CONTAINER_WHY,
          where: "where the container is started",
        },
      ];
    default:
  }
  if (ci === "GitLab CI") {
    const why = `${CONTAINER_WHY}, and this executor can lift them only together; the shell executor has neither`;
    return [{ command: "[runners.docker]\nprivileged = true", why, where: "in the runner's config.toml" }];
  }
  if (ci === "GitHub Actions") {
    return [
      {
        command: `container:\n  options: ${docker}`,
        why: CONTAINER_WHY,
        where: "in the job of the workflow",
      },
    ];
  }
  return [{ command: `docker run ${docker} …`, why: CONTAINER_WHY, where: "where the container is started" }];
}

/** What bounds memory, processes and processor time of a whole tree, where nothing does. */
export function cgroupCure({ uid, container, systemd }: HostFacts): Cure {
  const why = "without a cgroup of its own, a tree of processes is bounded one process at a time";
  if (container === "docker" || container === "podman") {
    const command = `${container} run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw …, as root`;
    return { command, why, where: "where the container is started" };
  }
  if (container === "kubernetes")
    return { command: "run the gate outside of the pod, or accept rlimits", why };
  if (uid === 0) return { command: "mount -t cgroup2 none /sys/fs/cgroup", why };
  if (systemd) return { command: "systemd-run --user --scope -p Delegate=yes callgate …", why };
  return { command: "sudo callgate …", why };
}

/** What gives the control `lsm`. */
export function launcherCure(facts: HostFacts): Cure {
  const build = `sh ${facts.packageRoot}/native/build.sh`;
  const command = facts.compiler ? build : `${installCommand(facts, "gcc libc6-dev")} && ${build}`;
  return {
    command,
    why: "Landlock and hosts by name need our native programs, which are built with a C compiler",
  };
}
