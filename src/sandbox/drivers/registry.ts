import { join } from "node:path";
import { DEFAULT_DOCKER, type DockerSettings } from "../../contract/docker.ts";
import { GateError } from "../../contract/errors.ts";
import type { Profile } from "../../contract/profile.ts";
import type { Root } from "../../contract/root.ts";
import type { Driver } from "../driver.ts";
import type { HostUser } from "../user.ts";
import { BubblewrapDriver } from "./bubblewrap/driver.ts";
import { DockerDriver } from "./docker/driver.ts";
import { OciDriver } from "./oci/driver.ts";
import { findRuntime } from "./oci/probe.ts";
import { RUNTIME_NAMES, RUNTIMES } from "./oci/runtimes.ts";

/** What every driver is made from. */
export interface DriverHost {
  /** A folder of ours for each driver's own files. */
  readonly folder: string;
  readonly user: HostUser;
  /** The gateway makes one call and ends. */
  readonly oneShot?: boolean;
  /** Unset: as with no configuration. */
  readonly docker?: DockerSettings;
}

/** The only list of drivers, in the order in which they are preferred within a class. */
export function createDrivers(host: DriverHost): readonly Driver[] {
  const docker = { ...host, folder: join(host.folder, "docker"), settings: host.docker ?? DEFAULT_DOCKER };
  return [new BubblewrapDriver(host), ...ociDrivers(host), new DockerDriver(docker)];
}

/** Within a class one that is installed comes before one that is not. */
function ociDrivers(host: DriverHost): readonly Driver[] {
  const present = RUNTIME_NAMES.filter((name) => findRuntime(RUNTIMES[name]) !== undefined);
  return [...new Set([...present, ...RUNTIME_NAMES])].map(
    (runtime) => new OciDriver({ runtime, folder: join(host.folder, "oci"), user: host.user }),
  );
}

/**
 * The driver for a profile: of its class exactly, able to express all of it. Never a weaker class.
 * @throws GateError `ERR_DRIVER_UNAVAILABLE` naming what is missing.
 */
export function selectDriver(profile: Profile, drivers: readonly Driver[]): Driver {
  const ofClass = drivers.filter((driver) => driver.supports.isolation.includes(profile.isolation));
  if (ofClass.length === 0) {
    throw new GateError(
      "ERR_DRIVER_UNAVAILABLE",
      `this version has no driver for \`${profile.isolation}\` isolation`,
      {
        remedy: "run `callgate doctor` to see which classes this host can give",
      },
    );
  }
  const missing = ofClass.map((driver) => inexpressible(profile, driver));
  const chosen = ofClass.find((_, index) => missing[index] === undefined);
  if (chosen === undefined) {
    throw new GateError(
      "ERR_DRIVER_UNAVAILABLE",
      `no driver can express this profile: ${missing.join("; ")}`,
    );
  }
  return chosen;
}

const ROOT_WORDS: Readonly<Record<Root["from"], string>> = {
  host: "this host",
  folder: "a folder",
  layout: "an OCI image layout",
  image: "a container engine's images",
};

function inexpressible(profile: Profile, { name, supports }: Driver): string | undefined {
  const masks = profile.files.hide.length + profile.files.protect.length > 0;
  if (masks && !supports.maskedPaths) return `${name} cannot hide or protect paths`;
  if (!supports.network.includes(profile.network.mode))
    return `${name} has no network mode \`${profile.network.mode}\``;
  if (profile.root.from !== "host" && supports.roots?.includes(profile.root.from) !== true)
    return `${name} cannot take a root file system from ${ROOT_WORDS[profile.root.from]}`;
  if (profile.files.staged === true && supports.stagedWrites !== true) return `${name} cannot stage writes`;
  if (profile.explainSyscalls === true && supports.explainsSyscalls !== true)
    return `${name} cannot explain refused system calls`;
  if (profile.observeFiles === true && supports.observesFiles !== true)
    return `${name} cannot observe which files are used`;
  return undefined;
}
