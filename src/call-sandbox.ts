import canonicalize from "canonicalize";
import { EXEC_TOOL } from "./catalog/builtin.ts";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { GateParts } from "./gate.ts";
import { mayWait, openNow, Pool } from "./sandbox/pool.ts";
import { reportPool } from "./sandbox/pool-report.ts";

/** Where the sandboxes of a gate's calls come from. */
export interface SandboxSource extends AsyncDisposable {
  readonly open: GateParts["openSandbox"];
  readonly restock: GateParts["restock"];
  readonly stats: GateParts["poolStats"];
}

/**
 * For a gate that lives: from the pool where the tier and the profile allow one that waited.
 * @param reports a folder of ours, in which `doctor` finds what waits
 */
export function pooledSandboxes(reports: string, pool: Pool = new Pool()): SandboxSource {
  const reporter = reportPool(reports, () => pool.stats());
  return {
    open: async (driver, profile, digest, { tool, call }) => {
      if (!TIER_MINIMUMS[tool.tier].pooled || !mayWait(profile)) return await openNow(driver, profile);
      // One tool that stands for every command: what one of them needs says nothing of another.
      const kind = tool === EXEC_TOOL ? digest : "";
      const slot = canonicalize([call.caller, tool.digest, driver.name, kind]) ?? "";
      return await pool.take(driver, profile, { slot, profileDigest: digest });
    },
    restock: () => {
      pool.restock();
      reporter.note();
    },
    stats: () => pool.stats(),
    [Symbol.asyncDispose]: async () => {
      reporter[Symbol.dispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

/** For a gate that makes one call and ends. */
export function freshSandboxes(): SandboxSource {
  return {
    open: openNow,
    restock: () => {},
    stats: () => null,
    [Symbol.asyncDispose]: async () => {},
  };
}
