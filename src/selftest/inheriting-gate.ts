import { GateError } from "../contract/errors.ts";
import type { Driver } from "../sandbox/driver.ts";
import type { DriverHost } from "../sandbox/drivers/registry.ts";
import { selftestCapability } from "./ground.ts";
import type { InheritingAnswer, InheritingRequest } from "./inheriting.ts";
import { refused, runInside } from "./inside.ts";
import type { Seen } from "./probe.ts";

// A program of its own: a gate that inherits a descriptor, lets one probe in, and answers. Started by `runInheriting`.
const request = JSON.parse(process.argv.at(-1) ?? "") as InheritingRequest;
const seen = await run(request);
const base64 = (bytes: Buffer): string => bytes.toString("base64");
const answer: InheritingAnswer = {
  ending: seen.ending,
  stdout: base64(seen.stdout),
  stderr: base64(seen.stderr),
};
process.stdout.write(JSON.stringify(answer));

async function run({ registry, driver, host, profile, argv }: InheritingRequest): Promise<Seen> {
  const { createDrivers } = (await import(registry)) as {
    createDrivers: (host: DriverHost) => readonly Driver[];
  };
  const drivers = createDrivers(host);
  try {
    const found = drivers.find(({ name }) => name === driver);
    if (found === undefined) return refused(`there is no driver ${driver}`);
    return await runInside(found, profile, argv, selftestCapability(), {});
  } catch (error) {
    if (error instanceof GateError) return refused(error.message);
    throw error;
  } finally {
    for (const one of drivers) await one[Symbol.asyncDispose]();
  }
}
