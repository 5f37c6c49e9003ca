import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { processPathInputs } from "./config/paths.ts";
import type { Execution } from "./contract/execution.ts";
import type { Fragment } from "./contract/fragment.ts";
import type { EgressFact } from "./contract/network.ts";
import type { Profile } from "./contract/profile.ts";
import { learn } from "./learn.ts";
import { usedFiles } from "./learn-files.ts";
import type { OwnFiles } from "./own-files.ts";

/** What an observing run teaches; null where nothing ran, or nothing was observed. */
export function learnRun(
  execution: Execution,
  egress: readonly EgressFact[],
  profile: Profile,
  { workspace, own }: { readonly workspace: string; readonly own: OwnFiles },
): Fragment | null {
  if (execution.outcome === "unstarted" || execution.observed === undefined) return null;
  // An account without a home has no secrets in it.
  const home = processPathInputs().home ?? "/nonexistent";
  const files = usedFiles(execution.observed, profile, { workspace, home, ownHidden: own.hidden });
  const node = dirname(dirname(realpathSync(process.execPath)));
  return learn({ files, egress, workspace: realpathSync(workspace), node });
}
