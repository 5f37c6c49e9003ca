import type { Driver } from "../sandbox/driver.ts";
import type { DriverHost } from "../sandbox/drivers/registry.ts";
import { openDriver } from "./open-driver.fixture.ts";

/** The registry of a gate in another process that has only the driver that confines nothing. */
export function createDrivers({ user }: DriverHost): readonly Driver[] {
  return [openDriver(user, "plain")];
}
