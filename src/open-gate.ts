import { join } from "node:path";
import { type AuditLog, openLog } from "./audit/log.ts";
import { LazyEgress } from "./call-egress.ts";
import { CallPreparer } from "./call-preparer.ts";
import { callProfile } from "./call-profile.ts";
import { freshSandboxes, pooledSandboxes } from "./call-sandbox.ts";
import { openSession, processOwner } from "./capability/owner.ts";
import { checkOutput } from "./check-output.ts";
import type { CallContext } from "./contract/call.ts";
import type { Decision } from "./contract/decision.ts";
import { type Digest, digestOf } from "./contract/ids.ts";
import { CredentialStore } from "./credential-store.ts";
import { Gate, type PreparedCall } from "./gate.ts";
import type { Judge } from "./intent/decide.ts";
import { decisionKey } from "./intent/memo.ts";
import { type LoadedProject, loadProject, type ProjectOptions } from "./load-project.ts";
import { ownFiles } from "./own-files.ts";
import type { Driver } from "./sandbox/driver.ts";
import { createDrivers } from "./sandbox/drivers/registry.ts";
import { sandboxUser } from "./sandbox/user.ts";
import { recoverChanges, stageCall } from "./staged-writes.ts";
import { NetworkedDrivers } from "./with-egress.ts";

export interface OpenGateOptions extends ProjectOptions {
  /**
   * `worker` (the default): commits in a thread of its own, decisions by a judge that stays loaded. `one-shot`: for a
   * process that makes one call and ends; it loads only what that call needs.
   */
  readonly life?: "worker" | "one-shot";
}

/** Beside the organisation's other files, and never in a project. */
const CREDENTIALS = "credentials.yaml";
/** Where gateways on a state folder say what they have waiting. */
export const POOL_REPORTS = "sandbox/pools";
/** Starts of sandboxes that a gate which lives keeps prepared, whatever the calls will be. */
const STARTS_AHEAD = 2;

/**
 * Opens the gate for a project: `await using gate = await openGate()`.
 * @throws GateError `ERR_CONFIG_*`, `ERR_TOOL_*`, `ERR_POLICY_*`, `ERR_STATE_*`, `ERR_KEY_*`.
 */
export async function openGate(options: OpenGateOptions = {}): Promise<Gate> {
  return await openGateOn(await loadProject(options), options.life ?? "worker");
}

/** Opens the gate on a project that was loaded before. */
export async function openGateOn(loaded: LoadedProject, life: "worker" | "one-shot"): Promise<Gate> {
  const { paths, project } = loaded;
  const { settings, workspace } = project;
  const log = await openLog({ stateDir: paths.stateDir, mode: life === "worker" ? "worker" : "inline" });
  let drivers: readonly Driver[] = [];
  try {
    drivers = createDrivers({
      folder: join(paths.stateDir, "sandbox"),
      user: sandboxUser(workspace.root),
      docker: settings.sandbox.docker,
      oneShot: life === "one-shot",
    });
    // Behind everything else that has to be loaded.
    const preferred = drivers.find(({ supports }) => supports.isolation.includes(settings.sandbox.isolation));
    preferred?.warm?.(life === "worker" ? STARTS_AHEAD : 1, life === "worker");
    await log.recover();
    const staged = join(paths.stateDir, "sandbox", "staged");
    await recoverChanges(staged, log);
    const decider = new Decider(loaded, log, life);
    if (life === "worker") await decider.judge();
    await recordConfiguration(loaded, log);
    const session = openSession(processOwner(settings.owner), settings.session);
    const context: CallContext = Object.freeze({ environment: settings.environment, depth: 0 });
    const sandboxes =
      life === "worker" ? pooledSandboxes(join(paths.stateDir, POOL_REPORTS)) : freshSandboxes();
    const egress = new LazyEgress(join(paths.stateDir, "sandbox/egress"), project);
    const networked = networkedDrivers(loaded, log, egress);
    const preparer = new CallPreparer(loaded, session.caller, context);
    const own = ownFiles(paths, project);
    return new Gate({
      log,
      session,
      context,
      drivers,
      prepare: (id, request) => preparer.prepare(id, request),
      decide: (prepared) => decider.decide(prepared),
      profileOf: (prepared, permit) => callProfile(prepared, permit, project, own),
      stage: (id, profile) => stageCall(staged, sandboxUser(workspace.root), id, profile),
      openSandbox: (driver, profile, digest, prepared) =>
        sandboxes.open(networked.for(driver, prepared, profile), profile, digest, prepared),
      restock: sandboxes.restock,
      poolStats: sandboxes.stats,
      learn: async (profile, execution, facts) => {
        if (profile.observeFiles !== true) return undefined;
        const { learnRun } = await import("./learn-run.ts");
        return learnRun(execution, facts, profile, { workspace: workspace.root, own }) ?? undefined;
      },
      checkOutput: (tool, execution) => checkOutput(tool, execution),
      close: async () => {
        // Last in, first out; one that cannot be closed does not keep the others open.
        await using all = new AsyncDisposableStack();
        all.defer(() => log.close());
        for (const driver of drivers) all.use(driver);
        all.use(egress);
        all.use(sandboxes);
      },
    });
  } catch (error) {
    for (const driver of drivers) await driver[Symbol.asyncDispose]();
    await log.close();
    throw error;
  }
}

/** Drivers that give sandboxes a network, and the credentials that a call's tool may have on it. */
function networkedDrivers(
  { paths, project }: LoadedProject,
  log: AuditLog,
  egress: LazyEgress,
): NetworkedDrivers {
  const store = CredentialStore.at(...paths.configDirs.map((folder) => join(folder, CREDENTIALS)));
  const environment = project.settings.environment.name;
  const onSecret = (values: readonly string[]): void => log.learnSecrets(values);
  return new NetworkedDrivers({
    egress: () => egress.get(),
    credentialsOf: async (tool, { network }) =>
      network.mode === "none"
        ? []
        : await store.credentialsFor(network.allow, { tool, environment, onSecret }),
  });
}

/** Stage 1 with its judge loaded when it is first needed; a one-shot command may find the decision remembered. */
class Decider {
  readonly #loaded: LoadedProject;
  readonly #log: AuditLog;
  readonly #remembers: boolean;
  #judge: Promise<Judge> | undefined;

  constructor(loaded: LoadedProject, log: AuditLog, life: "worker" | "one-shot") {
    this.#loaded = loaded;
    this.#log = log;
    this.#remembers = life === "one-shot";
  }

  judge(): Promise<Judge> {
    this.#judge ??= loadJudge(this.#loaded);
    return this.#judge;
  }

  async decide(prepared: PreparedCall): Promise<Decision> {
    if (!this.#remembers) return await this.#decideNow(prepared);
    const key = this.#key(prepared);
    const remembered = await this.#log.memo.get(key);
    if (remembered !== undefined) return JSON.parse(remembered) as Decision;
    const decision = await this.#decideNow(prepared);
    await this.#log.memo.put(key, JSON.stringify(decision));
    return decision;
  }

  async #decideNow({ call, tool }: PreparedCall): Promise<Decision> {
    return (await this.judge()).decide(call, tool);
  }

  #key({ call, tool }: PreparedCall): Digest {
    const { catalog, policies, project } = this.#loaded;
    const { environment, session } = project.settings;
    return decisionKey({
      tools: [...catalog.tools.values()],
      policies,
      environment,
      depthMax: session.depthMax,
      tool,
      call,
    });
  }
}

/** The judge of a project: its policies, parsed and validated against its catalogue. */
export async function loadJudge({ catalog, policies, project }: LoadedProject): Promise<Judge> {
  const { createJudge } = await import("./intent/decide.ts");
  const { environment, session } = project.settings;
  return await createJudge({
    tools: [...catalog.tools.values()],
    policies,
    environment,
    depthMax: session.depthMax,
  });
}

/** A set of tools or policies that was not in force before is a fact for the record. */
async function recordConfiguration(
  { catalog, policies, project }: LoadedProject,
  log: AuditLog,
): Promise<void> {
  const facts = [
    { kind: "catalog", digest: catalog.digest, summary: `${catalog.tools.size} tools` },
    {
      kind: "policy",
      digest: digestOf(JSON.stringify(policies)),
      summary: policies.length === 0 ? "built in" : `${policies.length} files`,
    },
  ] as const;
  const key = `configuration ${project.workspace.root}`;
  const value = JSON.stringify(facts);
  if ((await log.memo.get(key)) === value) return;
  await log.append(facts.map((record) => ({ record })));
  await log.memo.put(key, value);
}
