import { resolve } from "node:path";
import { EXEC_TOOL } from "./catalog/builtin.ts";
import { processPathInputs } from "./config/paths.ts";
import type { Project } from "./config/project.ts";
import type { Permit } from "./contract/decision.ts";
import { isJsonObject, type Json, type JsonObject } from "./contract/json.ts";
import type { Profile } from "./contract/profile.ts";
import { parseRoot, type RootRequest } from "./contract/root.ts";
import { type IsolationClass, strongerIsolation, TIER_MINIMUMS } from "./contract/tier.ts";
import type { PreparedCall } from "./gate.ts";
import type { OwnFiles } from "./own-files.ts";
import { buildProfile } from "./sandbox/grants.ts";

/** What this call may see and do: the tool's manifest, tightened by tier, policy and the project, on this host. */
export function callProfile(
  prepared: PreparedCall,
  permit: Permit,
  project: Project,
  own: OwnFiles,
): Profile {
  const { tool, call, environment } = prepared;
  const { root } = project.workspace;
  const exec = tool === EXEC_TOOL ? execGrants(call.input, root) : undefined;
  const { sandbox } = project.settings;
  const asked = [sandbox.isolation, tool.sandbox.isolation, exec?.isolation, permit.grant.isolation];
  const files = exec?.files ?? tool.sandbox.files;
  const profile = buildProfile({
    isolation: asked.reduce<IsolationClass>(
      (strongest, one) => (one === undefined ? strongest : strongerIsolation(strongest, one)),
      TIER_MINIMUMS[tool.tier].isolation,
    ),
    files: { ...files, hide: [...files.hide, ...sandbox.hide] },
    root: exec?.root ?? tool.sandbox.root ?? sandbox.root,
    environment: { ...tool.run.environment, ...environment },
    workspace: root,
    workingDirectory: exec?.workingDirectory ?? root,
    limits: { ...tool.sandbox.limits, ...exec?.limits },
    treeLimits: TIER_MINIMUMS[tool.tier].treeLimits,
    ownHidden: own.hidden,
    ownProtected: [...own.protected, ...sandbox.protect.map((path) => resolve(root, path))],
    // An account without a home has no secrets in it.
    home: processPathInputs().home ?? "/nonexistent",
  });
  const { network } = call;
  return {
    ...profile,
    network,
    ...(prepared.explainSyscalls === true ? { explainSyscalls: true } : {}),
    ...(network.mode === "names" && network.observe !== undefined ? { observeFiles: true } : {}),
  };
}

interface ExecGrants {
  readonly files: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    readonly hide: readonly string[];
    readonly staged?: true;
  };
  readonly isolation: IsolationClass | undefined;
  readonly root: RootRequest | undefined;
  readonly workingDirectory: string;
  readonly limits: JsonObject;
}

/** The input of `callgate.exec` fits its schema by now. Paths a person names may lie anywhere: they are absolute. */
function execGrants(input: JsonObject, root: string): ExecGrants {
  const files = isJsonObject(input["files"]) ? input["files"] : {};
  const workingDirectory = resolve(root, typeof input["cwd"] === "string" ? input["cwd"] : ".");
  const absolute = (paths: Json | undefined): string[] =>
    Array.isArray(paths) ? paths.map((path) => resolve(workingDirectory, String(path))) : [];
  return {
    files: {
      read: [root, ...absolute(files["read"])],
      write: absolute(files["write"]),
      hide: absolute(files["hide"]),
      ...(files["staged"] === true ? { staged: true } : {}),
    },
    isolation: input["isolation"] as IsolationClass | undefined,
    root:
      input["root"] === undefined
        ? undefined
        : absoluteRoot(parseRoot(String(input["root"])), workingDirectory),
    workingDirectory,
    limits: isJsonObject(input["limits"]) ? input["limits"] : {},
  };
}

function absoluteRoot(root: RootRequest, folder: string): RootRequest {
  return "path" in root ? { ...root, path: resolve(folder, root.path) } : root;
}
