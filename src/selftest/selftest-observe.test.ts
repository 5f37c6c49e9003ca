/** Observing lets nothing through: the same probes, under the same driver, with each path that is named noted. */
import type { Driver } from "../sandbox/driver.ts";
import { createDrivers } from "../sandbox/drivers/registry.ts";
import { harmless } from "../surfaces/cli/terminal.ts";
import { attack } from "./attack.fixture.ts";
import { openSelftest } from "./run.ts";

function observing(driver: Driver): Driver {
  return {
    name: driver.name,
    supports: driver.supports,
    probe: () => driver.probe(),
    open: (profile, options) => driver.open({ ...profile, observeFiles: true }, options),
    [Symbol.asyncDispose]: () => driver[Symbol.asyncDispose](),
  };
}

await attack(
  openSelftest({
    show: harmless,
    drivers: (host) =>
      createDrivers(host)
        .filter(({ supports }) => supports.observesFiles === true)
        .map(observing),
  }),
);
