import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { DockerSettings } from "../../../contract/docker.ts";
import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import { DEFAULT_LIMITS } from "../../../contract/profile.ts";
import { type IsolationClass, TIER_MINIMUMS } from "../../../contract/tier.ts";
import type { Diagnosis, Driver } from "../../../sandbox/driver.ts";
import { createDrivers } from "../../../sandbox/drivers/registry.ts";
import { buildProfile } from "../../../sandbox/grants.ts";
import { sandboxUser } from "../../../sandbox/user.ts";

/** One driver, tried: what it says of itself, and what the kernel says of a sandbox it built. */
export interface SurveyedDriver {
  readonly name: string;
  readonly isolation: readonly IsolationClass[];
  readonly diagnosis: Diagnosis;
  /** Of a sandbox that was built for the purpose; absent where none could be. */
  readonly controls?: Controls;
  /** A sandbox around the folder one stands in. */
  readonly here?:
    | { readonly built: true }
    | { readonly built: false; readonly why: string; readonly remedy?: string };
}

/** Asks every driver of the registry, builds a sandbox with each that can, and reads it. Runs no tool. */
export async function surveyDrivers(
  root: string,
  docker: DockerSettings,
): Promise<readonly SurveyedDriver[]> {
  const base = mkdtempSync(join(tmpdir(), "callgate-doctor-"));
  const empty = join(base, "workspace");
  mkdirSync(empty);
  // The sandbox's user has to get there, and it may be another one than ours.
  for (const path of [base, empty]) chmodSync(path, 0o755);
  const drivers = createDrivers({ folder: join(base, "own"), user: sandboxUser(root), docker });
  try {
    return await Promise.all(drivers.map((driver) => surveyDriver(driver, empty, root)));
  } finally {
    for (const driver of drivers) await driver[Symbol.asyncDispose]();
    rmSync(base, { recursive: true, force: true });
  }
}

async function surveyDriver(driver: Driver, empty: string, root: string): Promise<SurveyedDriver> {
  const { name, supports } = driver;
  const asked = { name, isolation: supports.isolation };
  const diagnosis = await driver.probe();
  if (!diagnosis.usable) return { ...asked, diagnosis };
  const controls = await inspect(driver, empty, []);
  if (controls instanceof GateError) return { ...asked, diagnosis: broken(controls) };
  const around = await inspect(driver, root, [root]);
  if (!(around instanceof GateError)) return { ...asked, diagnosis, controls, here: { built: true } };
  const { message, remedy } = around;
  const here = { built: false, why: message, ...(remedy === undefined ? {} : { remedy }) } as const;
  return { ...asked, diagnosis, controls, here };
}

function broken({ message, remedy }: GateError): Diagnosis {
  return { usable: false, detail: message, ...(remedy === undefined ? {} : { remedy }) };
}

async function inspect(
  driver: Driver,
  workspace: string,
  read: readonly string[],
): Promise<Controls | GateError> {
  try {
    const profile = buildProfile({
      isolation: driver.supports.isolation[0] ?? "process",
      files: { read, write: [], hide: [] },
      environment: {},
      workspace,
      workingDirectory: read[0] ?? "/tmp",
      limits: DEFAULT_LIMITS,
      treeLimits: TIER_MINIMUMS.low.treeLimits,
      ownHidden: [],
      ownProtected: [],
      home: homedir(),
    });
    await using sandbox = await driver.open(profile);
    return await sandbox.inspect();
  } catch (error) {
    if (error instanceof GateError) return error;
    throw error;
  }
}
