import { existsSync } from "node:fs";

/** In the order in which they are told. */
export const FINDING_GROUPS = [
  "tiers",
  "host",
  "isolation",
  "controls",
  "folder",
  "state",
  "programs",
] as const;

/** One thing that was looked at. */
export interface Finding {
  readonly group: (typeof FINDING_GROUPS)[number];
  readonly name: string;
  /** `later`: this version does not have it, so no command adds it. */
  readonly state: "ok" | "missing" | "later";
  readonly detail: string;
  /** A command or a sentence; there where something is missing. */
  readonly remedy?: string;
}

const INSTALLERS = [
  ["/usr/bin/apt-get", "apt-get install"],
  ["/usr/bin/dnf", "dnf install"],
  ["/sbin/apk", "apk add"],
  ["/usr/bin/pacman", "pacman -S"],
  ["/usr/bin/zypper", "zypper install"],
] as const;

/** The command that installs a package on this host. */
export function installCommand(name: string): string {
  const [, command] = INSTALLERS.find(([path]) => existsSync(path)) ?? ["", "install"];
  return `${command} ${name}`;
}
