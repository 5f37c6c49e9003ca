import { builtinCatalog, type Catalog } from "../../catalog/create-catalog.ts";
import { DEFAULT_SETTINGS, type Settings } from "../../config/defaults.ts";
import { type GatePaths, gatePaths, processPathInputs } from "../../config/paths.ts";
import type { Snapshot } from "../../config/snapshot.ts";
import { CONFIG_NAME, checkStateOutside, findWorkspace, type Workspace } from "../../config/workspace.ts";
import { GateError } from "../../contract/errors.ts";
import type { Judge } from "../../intent/decide.ts";
import type { PolicyFile } from "../../intent/policy.ts";
import type { GlobalOptions } from "./context.ts";

/** Where a project and the gate's own folders are; nothing of the project has been read. */
export interface LocatedProject {
  readonly paths: GatePaths;
  readonly workspace: Workspace;
}

/** A project as it stands in its folder, whether trusted or not. For looking at; nothing here is in force. */
export interface InspectedProject {
  readonly settings: Settings;
  readonly catalog: Catalog;
  /** Empty: the built-in policies. */
  readonly policies: readonly PolicyFile[];
  readonly judge: Judge;
}

/** @throws GateError `ERR_CONFIG_*`, `ERR_STATE_*`. */
export function locateProject({ config, state }: GlobalOptions): LocatedProject {
  const inputs = processPathInputs(state);
  const paths = gatePaths(inputs);
  const workspace = findWorkspace({ ...inputs, config: config ?? process.env["CALLGATE_CONFIG"] });
  return { paths: { ...paths, stateDir: checkStateOutside(paths.stateDir, workspace.root) }, workspace };
}

/** The project's files read once, or undefined where there is no configuration. */
export async function snapshotOf({ workspace }: LocatedProject): Promise<Snapshot | undefined> {
  if (workspace.config === undefined) return undefined;
  return (await import("../../config/snapshot.ts")).snapshotProject(workspace.root, workspace.config);
}

/** @throws GateError `ERR_CONFIG_NOT_FOUND` where there is no configuration, or what reading it throws. */
export async function requireSnapshot(located: LocatedProject): Promise<Snapshot> {
  const snapshot = await snapshotOf(located);
  if (snapshot !== undefined) return snapshot;
  throw new GateError(
    "ERR_CONFIG_NOT_FOUND",
    `there is no \`${CONFIG_NAME}\` in \`${located.workspace.root}\` or above it`,
    { remedy: "run `callgate init`, or name one with `--config FILE`" },
  );
}

/** @throws GateError `ERR_CONFIG_*`, `ERR_TOOL_*`. */
export async function catalogOf(snapshot: Snapshot | undefined): Promise<Catalog> {
  if (snapshot === undefined || snapshot.manifests.length === 0) return builtinCatalog();
  const { loadCatalog } = await import("../../catalog/catalog.ts");
  return loadCatalog(textsOf(snapshot, snapshot.manifests));
}

/**
 * Parses and validates all that a project brings, or what is built in.
 * @throws GateError `ERR_CONFIG_*`, `ERR_TOOL_*`, `ERR_POLICY_*`, each with its place.
 */
export async function inspectProject(snapshot: Snapshot | undefined): Promise<InspectedProject> {
  const catalog = await catalogOf(snapshot);
  const settings = snapshot?.settings ?? DEFAULT_SETTINGS;
  const policies =
    snapshot === undefined
      ? []
      : [...textsOf(snapshot, snapshot.policies)].map(([file, text]) => ({ file, text }));
  const { createJudge } = await import("../../intent/decide.ts");
  const judge = await createJudge({
    tools: [...catalog.tools.values()],
    policies,
    environment: settings.environment,
    depthMax: settings.session.depthMax,
  });
  return { settings, catalog, policies, judge };
}

/** The texts of some of a snapshot's files, by path. */
export function textsOf(snapshot: Snapshot, paths: readonly string[]): ReadonlyMap<string, string> {
  return new Map(paths.map((path) => [path, snapshot.files.get(path) ?? ""]));
}
