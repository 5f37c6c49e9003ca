import { POOL_AGE_MS_MAX, POOL_PER_SLOT_MAX, POOL_TOTAL_MAX } from "../../../sandbox/pool.ts";
import { readPoolReports } from "../../../sandbox/pool-report.ts";
import type { Finding } from "./finding.ts";

const MIB = 1024 * 1024;

/** What the gateways that live on this state folder have waiting. */
export function examinePools(folder: string): readonly Finding[] {
  const found = { group: "pool", state: "ok" } as const;
  const reports = readPoolReports(folder);
  if (reports.length === 0) {
    const bounds = `${POOL_TOTAL_MAX} sandboxes ahead, ${POOL_PER_SLOT_MAX} of a tool, for ${POOL_AGE_MS_MAX / 1000} s`;
    return [{ ...found, name: "no gateway runs", detail: `one that does keeps up to ${bounds}` }];
  }
  return reports.map(({ pid, waiting, memoryBytes, served, missed, failed }) => ({
    ...found,
    name: `gateway ${pid}`,
    detail: `${waiting} wait (${Math.ceil(memoryBytes / MIB)} MiB), ${served} calls served, ${missed} not, ${failed} builds failed`,
  }));
}
