import { builtinCatalog, type Catalog } from "./catalog/create-catalog.ts";
import type { Lock } from "./catalog/lock.ts";
import { type GatePaths, gatePaths, processPathInputs } from "./config/paths.ts";
import { openProject, type Project } from "./config/project.ts";
import { checkStateOutside, findWorkspace } from "./config/workspace.ts";
import type { PolicyFile } from "./intent/policy.ts";

/** Where to find a project and our own state. */
export interface ProjectOptions {
  /** A `callgate.yaml`; unset: `$CALLGATE_CONFIG`, else the nearest one in or above the working folder. */
  readonly config?: string | undefined;
  /** The state folder; unset: `$CALLGATE_STATE`, else the XDG one. */
  readonly state?: string | undefined;
  readonly workingDirectory?: string | undefined;
}

/** A project's configuration, catalogue and policies, read once; nothing has been written. */
export interface LoadedProject {
  readonly paths: GatePaths;
  readonly project: Project;
  readonly catalog: Catalog;
  readonly lock: Lock | undefined;
  /** Empty: the built-in policies. */
  readonly policies: readonly PolicyFile[];
}

/** @throws GateError `ERR_CONFIG_*`, `ERR_TOOL_*`, `ERR_STATE_*`. */
export async function loadProject(options: ProjectOptions = {}): Promise<LoadedProject> {
  const workingDirectory = options.workingDirectory ?? process.cwd();
  const inputs = { ...processPathInputs(options.state), workingDirectory };
  const found = gatePaths(inputs);
  const config = options.config ?? process.env["CALLGATE_CONFIG"];
  const workspace = findWorkspace({ workingDirectory, home: inputs.home, uid: inputs.uid, config });
  const paths = { ...found, stateDir: checkStateOutside(found.stateDir, workspace.root) };
  const project = await openProject(workspace, paths.stateDir);
  return {
    paths,
    project,
    catalog: await catalogOf(project),
    lock:
      project.lock === undefined
        ? undefined
        : (await import("./catalog/lock.ts")).parseLock(project.lock, "callgate.lock"),
    policies: [...project.policies].map(([file, text]) => ({ file, text })),
  };
}

/** Why a project has no tools of its own, as what to do about it. */
function absenceIn({ trust, workspace }: Project): string {
  if (trust === undefined) {
    return `there is no \`callgate.yaml\` in \`${workspace.root}\` or above it, so only \`callgate.exec\` is there: run \`callgate init\``;
  }
  if (trust.state !== "trusted") {
    return "this project is not trusted, so none of its tools is there: read its configuration, then run `callgate trust`";
  }
  return "this project's configuration names no tools: `catalog` lists their manifests";
}

/** Without manifests no parser is loaded. */
async function catalogOf(project: Project): Promise<Catalog> {
  if (project.manifests.size === 0) return builtinCatalog(absenceIn(project));
  return (await import("./catalog/catalog.ts")).loadCatalog(project.manifests);
}
