import { accessSync, constants, realpathSync } from "node:fs";
import { join } from "node:path";
import { type Finding, installCommand } from "./finding.ts";

/** Programs that tools often are, with the package that has them. */
const PROGRAMS = [
  ["rg", "ripgrep"],
  ["git", "git"],
  ["jq", "jq"],
] as const;

/** Where a sandbox looks for programs. */
const FOLDERS = ["/usr/local/bin", "/usr/bin", "/bin"];

/** Whether programs are there for a sandbox, which sees `/usr` and not what lies under a home folder. */
export function examinePrograms(): readonly Finding[] {
  return PROGRAMS.map(([name, packageName]): Finding => {
    const path = FOLDERS.map((folder) => join(folder, name)).find(isVisibleProgram);
    if (path !== undefined) return { group: "programs", name, state: "ok", detail: path };
    const detail = "not in the folders a sandbox sees";
    return { group: "programs", name, state: "missing", detail, remedy: installCommand(packageName) };
  });
}

function isVisibleProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return ["/usr/", "/bin/"].some((folder) => realpathSync(path).startsWith(folder));
  } catch {
    return false;
  }
}
