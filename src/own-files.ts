import { realpathSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type GatePaths,
  gatePaths,
  processPathInputs,
  SYSTEM_CONFIG_DIR,
  SYSTEM_RUNTIME_DIR,
  SYSTEM_STATE_DIR,
} from "./config/paths.ts";
import type { Project } from "./config/project.ts";

/** Our own files, which no profile opens: what is hidden from tools, and what they may read and never write. */
export interface OwnFiles {
  readonly hidden: readonly string[];
  readonly protected: readonly string[];
}

export function ownFiles(paths: GatePaths, project: Project): OwnFiles {
  const { root, config } = project.workspace;
  const inProject = [
    ...(config === undefined ? [] : [config, project.settings.policies, "callgate.lock"]),
    ...project.manifests.keys(),
    ...project.policies.keys(),
    ...project.policyTests.keys(),
    ...project.authorities.keys(),
  ];
  return {
    hidden: [...new Set([...foldersOf(paths), ...usualFolders()])],
    protected: [...inProject.map((path) => join(root, path)), ...installedCode()],
  };
}

function foldersOf({ stateDir, configDirs, runtimeDir }: GatePaths): readonly string[] {
  return [stateDir, ...configDirs, runtimeDir];
}

/** Where everything of ours lies when nothing names another place: keys there are as secret as those in use. */
function usualFolders(): readonly string[] {
  const { CALLGATE_STATE: _named, ...environment } = process.env;
  const inputs = { ...processPathInputs(), environment };
  return [...foldersOf(gatePaths(inputs)), SYSTEM_STATE_DIR, SYSTEM_CONFIG_DIR, SYSTEM_RUNTIME_DIR];
}

/**
 * The Node that runs us, and where our code and that of our dependencies lies: the outermost `node_modules` that holds
 * this file, so that a tool which may write a project cannot change what runs outside the sandbox next time; in a
 * checkout, its own folders.
 */
function installedCode(): readonly string[] {
  const here = realpathSync(fileURLToPath(import.meta.url));
  const parts = here.split(sep);
  const node = realpathSync(process.execPath);
  const modules = parts.indexOf("node_modules");
  if (modules > 0) return [node, parts.slice(0, modules + 1).join(sep)];
  const checkout = dirname(dirname(here));
  return [
    node,
    ...["src", "dist", "bin", "node_modules", "package.json"].map((name) => join(checkout, name)),
  ];
}
