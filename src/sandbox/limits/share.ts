import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { GateError } from "../../contract/errors.ts";
import type { Limits } from "../../contract/profile.ts";
import { readNumber, writeLimit } from "./cgroup-files.ts";

/** Over how long the share is counted; the kernel's own default (sched-bwc.rst). */
const PERIOD_US = 100_000;
const QUOTA_V1 = "cpu.cfs_quota_us";

/** A group that can bound the processors a tree uses at once. */
export interface ShareGroup {
  readonly version: 1 | 2;
  readonly path: string;
}

/** Writes the share of processor time (sched-bwc.rst; cgroup-v2.rst, "cpu.max"). @throws as `writeLimit` */
export function writeShare({ version, path }: ShareGroup, limits: Limits): void {
  const quotaUs = quotaOf(limits);
  if (version === 2) {
    writeLimit(join(path, "cpu.max"), `${quotaUs} ${PERIOD_US}`);
    return;
  }
  writeLimit(join(path, "cpu.cfs_period_us"), String(PERIOD_US));
  try {
    writeLimit(join(path, QUOTA_V1), String(quotaUs));
  } catch (error) {
    // Answered to more than what a group further up is given.
    if (!(error instanceof GateError) || (error.cause as NodeJS.ErrnoException).code !== "EINVAL")
      throw error;
    const aboveUs = quotaAbove(path);
    if (aboveUs === undefined || aboveUs > quotaUs) throw error;
    writeLimit(join(path, QUOTA_V1), String(aboveUs));
  }
}

/** The quota of the nearest group above that has one, over our period. */
function quotaAbove(path: string): number | undefined {
  for (let folder = dirname(path); existsSync(join(folder, QUOTA_V1)); folder = dirname(folder)) {
    const quota = readNumber(join(folder, QUOTA_V1));
    if (quota > 0) return Math.floor((quota / readNumber(join(folder, "cpu.cfs_period_us"))) * PERIOD_US);
  }
  return undefined;
}

/** What the kernel says of the share. `kept` is false for a quota that is absent or more than was asked. */
export function readShare(
  { version, path }: ShareGroup,
  limits: Limits,
): { readonly kept: boolean; readonly shown: string } {
  const [quota, period] =
    version === 2
      ? readFileSync(join(path, "cpu.max"), "utf8").trim().split(" ").map(Number)
      : [readNumber(join(path, QUOTA_V1)), readNumber(join(path, "cpu.cfs_period_us"))];
  const kept = quota !== undefined && period !== undefined && quota > 0 && quota / period <= asked(limits);
  const name = version === 2 ? "cpu.max" : QUOTA_V1;
  return { kept, shown: `${name} ${quota} of ${period} us` };
}

function asked(limits: Limits): number {
  return limits.cpusMilli / 1000;
}

function quotaOf(limits: Limits): number {
  return Math.round(asked(limits) * PERIOD_US);
}
