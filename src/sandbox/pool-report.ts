import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PoolStats } from "./pool.ts";
import { isAlive } from "./procfs.ts";

/** How often a gateway says what it has waiting. */
const REPORT_MS = 1_000;

/** Says what waits in this gateway's pool, for `doctor` in another process to read. */
export interface PoolReporter extends Disposable {
  /** Something may have changed. */
  note(): void;
}

/** Writes `PID.json` below a folder of ours, at most once in `REPORT_MS`; gone when it is disposed. */
export function reportPool(folder: string, stats: () => PoolStats): PoolReporter {
  const path = join(folder, `${process.pid}.json`);
  let due: NodeJS.Timeout | undefined;
  let isOver = false;
  const write = (): void => {
    due = undefined;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(`${path}.new`, JSON.stringify(stats()), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch {
      // It is only told, and nothing rests on it.
    }
  };
  return {
    note: () => {
      if (!isOver) due ??= setTimeout(write, REPORT_MS).unref();
    },
    [Symbol.dispose]: () => {
      isOver = true;
      clearTimeout(due);
      for (const left of [path, `${path}.new`]) rmSync(left, { force: true });
    },
  };
}

/** What gateways that live now have waiting, by their pid; what one left that was killed is passed over. */
export function readPoolReports(folder: string): readonly (PoolStats & { readonly pid: number })[] {
  const reports: (PoolStats & { pid: number })[] = [];
  for (const name of list(folder)) {
    const pid = Number(/^(\d+)\.json$/.exec(name)?.[1]);
    if (!(pid > 0 && isAlive(pid))) continue;
    try {
      reports.push({ pid, ...(JSON.parse(readFileSync(join(folder, name), "utf8")) as PoolStats) });
    } catch {
      // gone, or half of another version's
    }
  }
  return reports;
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
