import { GateError } from "../../contract/errors.ts";
import type { Profile } from "../../contract/profile.ts";
import type { Driver } from "../driver.ts";
import type { HostUser } from "../user.ts";
import { BubblewrapDriver } from "./bubblewrap/driver.ts";

/** What every driver is made from. */
export interface DriverHost {
  /** A folder of ours for each driver's own files. */
  readonly folder: string;
  readonly user: HostUser;
}

/** The only list of drivers, in the order in which they are preferred within a class. */
export function createDrivers(host: DriverHost): readonly Driver[] {
  return [new BubblewrapDriver(host)];
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

function inexpressible(profile: Profile, { name, supports }: Driver): string | undefined {
  const masks = profile.files.hide.length + profile.files.protect.length > 0;
  if (masks && !supports.maskedPaths) return `${name} cannot hide or protect paths`;
  if (!supports.network.includes(profile.network.mode))
    return `${name} has no network mode \`${profile.network.mode}\``;
  return undefined;
}
