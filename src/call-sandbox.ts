import canonicalize from "canonicalize";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { GateParts } from "./gate.ts";
import { profileDigest } from "./gate-steps.ts";
import { mayWait, openNow, Pool } from "./sandbox/pool.ts";

/** Where the sandboxes of a gate's calls come from. */
export interface SandboxSource extends AsyncDisposable {
  readonly open: GateParts["openSandbox"];
  readonly restock: GateParts["restock"];
  readonly stats: GateParts["poolStats"];
}

/** For a gate that lives: from the pool where the tier and the profile allow one that waited. */
export function pooledSandboxes(pool: Pool = new Pool()): SandboxSource {
  return {
    open: async (driver, profile, { tool, call }) => {
      if (!TIER_MINIMUMS[tool.tier].pooled || !mayWait(profile))
        return await openNow(driver, profile);
      const slot = canonicalize([call.caller, tool.digest, driver.name]) ?? "";
      return await pool.take(driver, profile, { slot, profileDigest: profileDigest(profile) });
    },
    restock: () => pool.restock(),
    stats: () => pool.stats(),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
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
