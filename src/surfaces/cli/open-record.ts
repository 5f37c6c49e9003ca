import { existsSync } from "node:fs";
import type { AuditLog } from "../../audit/log.ts";
import { gatePaths, processPathInputs } from "../../config/paths.ts";
import { GateError } from "../../contract/errors.ts";
import { type CallId, parseCallId } from "../../contract/ids.ts";
import { statePath } from "../../store/state-dir.ts";
import type { GlobalOptions } from "./context.ts";

/** The state folder by the flags and the environment, whatever project one stands in. */
export function stateDirOf({ state }: GlobalOptions): string {
  return gatePaths(processPathInputs(state)).stateDir;
}

/** @throws GateError `ERR_NOT_FOUND` where there is no record: looking must not begin one. */
export function requireRecord(stateDir: string): void {
  if (existsSync(statePath(stateDir, "database"))) return;
  throw new GateError("ERR_NOT_FOUND", `there is no record in \`${stateDir}\` yet`, {
    remedy: "a first call begins one: `callgate exec -- ls`; or name another folder with `--state DIR`",
  });
}

/** Opens a record that is there. @throws GateError `ERR_NOT_FOUND`, `ERR_STATE_*`, `ERR_KEY_*`. */
export async function openRecord(stateDir: string): Promise<AuditLog> {
  requireRecord(stateDir);
  const { openLog } = await import("../../audit/log.ts");
  return await openLog({ stateDir, mode: "inline" });
}

/** A call as it was named: its id, or `last`. @throws GateError `ERR_USAGE`, `ERR_NOT_FOUND`. */
export async function callNamed(log: AuditLog, name: string): Promise<CallId> {
  if (name !== "last") return callIdIn(name);
  const call = await log.lastCall();
  if (call !== undefined) return call;
  throw new GateError("ERR_NOT_FOUND", "the record holds no call yet", {
    remedy: "make one: `callgate exec -- ls`",
  });
}

function callIdIn(name: string): CallId {
  try {
    return parseCallId(name);
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${name}\` is not a call id`, {
      cause,
      remedy: "`callgate log show` lists the calls; `last` is the last one",
    });
  }
}

export function noSuchCall(call: CallId): GateError {
  return new GateError("ERR_NOT_FOUND", `the record holds no call \`${call}\``, {
    remedy: "`callgate log show` lists what is there; `--state DIR` names another record",
  });
}
