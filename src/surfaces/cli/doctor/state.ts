import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { checkStateOutside } from "../../../config/workspace.ts";
import { GateError } from "../../../contract/errors.ts";
import { checkPrivate, STATE_FILES, statePath } from "../../../store/state-dir.ts";
import type { Finding } from "./finding.ts";

/** Whether the record can be kept: the folder, the key, and the record itself, opened as a call would open it. */
export async function examineState(stateDir: string, root: string): Promise<readonly Finding[]> {
  const folder = examineFolder(stateDir, root);
  if (folder.state !== "ok") return [folder];
  if (!Object.values(STATE_FILES).some((file) => existsSync(`${stateDir}/${file}`))) {
    const detail = "none yet; the first call makes it";
    return [folder, { group: "state", name: "record", state: "ok", detail }];
  }
  return [folder, await examineRecord(stateDir)];
}

function examineFolder(stateDir: string, root: string): Finding {
  const found = { group: "state", name: "folder" } as const;
  try {
    checkStateOutside(stateDir, root);
    if (existsSync(stateDir)) {
      checkPrivate(stateDir);
      accessSync(stateDir, constants.W_OK | constants.X_OK);
      return { ...found, state: "ok", detail: `${stateDir}, private and writable` };
    }
    accessSync(nearestFolder(stateDir), constants.W_OK | constants.X_OK);
    return { ...found, state: "ok", detail: `${stateDir}, made by the first call` };
  } catch (error) {
    if (error instanceof GateError) return { ...found, ...missing(error) };
    const remedy = "make it writable for this user, or name another with `--state DIR`";
    return { ...found, state: "missing", detail: `${stateDir} cannot be written`, remedy };
  }
}

function nearestFolder(path: string): string {
  const above = dirname(path);
  return existsSync(above) || above === path ? above : nearestFolder(above);
}

async function examineRecord(stateDir: string): Promise<Finding> {
  const found = { group: "state", name: "record" } as const;
  const { openLog } = await import("../../../audit/log.ts");
  try {
    await using log = await openLog({ stateDir, mode: "inline" });
    const detail = `${await log.size()} entries of ${log.origin}, key in ${statePath(stateDir, "key")}`;
    return { ...found, state: "ok", detail };
  } catch (error) {
    if (error instanceof GateError) return { ...found, ...missing(error) };
    throw error;
  }
}

function missing({ message, remedy }: GateError): Pick<Finding, "state" | "detail" | "remedy"> {
  return { state: "missing", detail: message, remedy: remedy ?? "name another folder with `--state DIR`" };
}
