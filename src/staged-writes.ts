import { existsSync } from "node:fs";
import type { AuditLog } from "./audit/log.ts";
import type { Changes } from "./contract/changes.ts";
import { GateError, type GateErrorCode } from "./contract/errors.ts";
import type { CallId } from "./contract/ids.ts";
import type { Profile } from "./contract/profile.ts";
import type { Driver } from "./sandbox/driver.ts";
import type { StagedWrites } from "./sandbox/staged/staged.ts";
import type { HostUser } from "./sandbox/user.ts";

/** Loads what stages writes only where a call, or the rest of one, asks for it. */
export async function stageCall(
  folder: string,
  user: HostUser,
  call: CallId,
  profile: Profile,
): Promise<StagedWrites | undefined> {
  if (profile.files.staged !== true) return undefined;
  const { stageWrites } = await import("./sandbox/staged/staged.ts");
  return await stageWrites(profile, { folder, user, call });
}

/** The driver, with the private copies in place of the folders that a profile names. */
export function onCopies(driver: Driver, staged: StagedWrites | undefined): Driver {
  if (staged === undefined) return driver;
  return {
    name: driver.name,
    supports: driver.supports,
    probe: () => driver.probe(),
    open: (profile, options) => driver.open(profile, { ...options, copyOf: staged.copyOf }),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** What keeps changes from counting as made; undefined where the tool itself failed, which says enough. */
export function changesError({ state, reason }: Changes): GateError | undefined {
  const codes: Partial<Record<Changes["state"], GateErrorCode>> = {
    refused: "ERR_CHANGES_REFUSED",
    conflict: "ERR_CHANGES_CONFLICT",
    failed: "ERR_CHANGES_FAILED",
  };
  const code = codes[state];
  if (code === undefined) return undefined;
  const remedy = state === "conflict" ? "call it again" : undefined;
  return new GateError(code, `nothing was applied: ${reason}`, remedy === undefined ? {} : { remedy });
}

/** The outcome in the record is what decides: a call without one has changed nothing. */
export async function recoverChanges(folder: string, log: AuditLog): Promise<void> {
  if (!existsSync(folder)) return;
  const { recoverStaged } = await import("./sandbox/staged/staged.ts");
  await recoverStaged(folder, async (call) => {
    const entries = await log.entriesOfCall(call);
    return entries.some(({ entry }) => {
      const changes = entry["kind"] === "outcome" ? entry["changes"] : undefined;
      return (
        typeof changes === "object" &&
        changes !== null &&
        "state" in changes &&
        changes["state"] === "applied"
      );
    });
  });
}
