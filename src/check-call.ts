import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CallPreparer } from "./call-preparer.ts";
import { callProfile } from "./call-profile.ts";
import { processOwner } from "./capability/owner.ts";
import type { Decision, Permit } from "./contract/decision.ts";
import type { DockerSettings } from "./contract/docker.ts";
import { GateError } from "./contract/errors.ts";
import { newCallId } from "./contract/ids.ts";
import { type ControlName, type IsolationClass, strongerIsolation, TIER_MINIMUMS } from "./contract/tier.ts";
import type { CallRequest, PreparedCall } from "./gate.ts";
import { permitted } from "./gate-steps.ts";
import { type Explanation, explain } from "./intent/explain.ts";
import type { LoadedProject } from "./load-project.ts";
import { loadJudge } from "./open-gate.ts";
import { ownFiles } from "./own-files.ts";
import type { Diagnosis } from "./sandbox/driver.ts";
import { createDrivers } from "./sandbox/drivers/registry.ts";
import { sandboxUser } from "./sandbox/user.ts";

/** What would hold for a call, had it been made. */
export interface CheckedCall {
  readonly prepared: PreparedCall;
  readonly explanation: Explanation;
  /** What stands in the way beside policy: an obligation nobody can meet here, a grant that is not there. */
  readonly hindrance: GateError | undefined;
  readonly needs: {
    readonly isolation: IsolationClass;
    readonly controls: readonly ControlName[];
    /** Memory, processes and cpu bounded for the whole tree by a cgroup. */
    readonly treeLimits: boolean;
  };
  /** The driver that would serve it, tried on this host. */
  readonly host: Diagnosis & { readonly driver: string | null };
}

/**
 * Judges one call and looks at whether this host could run it. Runs nothing of it and records nothing.
 * @throws GateError as `Gate.call` answers an input that does not fit, or `ERR_POLICY_*`.
 */
export async function checkCall(loaded: LoadedProject, request: CallRequest): Promise<CheckedCall> {
  const { settings, workspace } = loaded.project;
  const caller = processOwner(settings.owner);
  const preparer = new CallPreparer(loaded, caller, { environment: settings.environment, depth: 0 });
  const prepared = await preparer.prepare(newCallId(), request);
  const explanation = explain(await loadJudge(loaded), prepared.call, prepared.tool);
  const { decision } = explanation;
  const built = attempt(() =>
    callProfile(
      prepared,
      asPermit(decision, prepared),
      loaded.project,
      ownFiles(loaded.paths, loaded.project),
    ),
  );
  const minimum = TIER_MINIMUMS[prepared.tool.tier];
  const isolation = built.value?.isolation ?? leastIsolation(prepared, settings.sandbox.isolation);
  const refused = decision.effect === "forbid" ? undefined : attempt(() => permitted(decision)).error;
  return {
    prepared,
    explanation,
    hindrance: refused ?? (decision.effect === "forbid" ? undefined : built.error),
    needs: { isolation, controls: minimum.controls, treeLimits: minimum.treeLimits },
    host: await diagnose(isolation, workspace.root, settings.sandbox.docker),
  };
}

/** For a call that is not permitted: what its tier and its tool would ask of the sandbox all the same. */
function asPermit(decision: Decision, { tool }: PreparedCall): Permit {
  const { policies, reasons, policyDigest } = decision;
  const { isolation, approvals, confirmation } = TIER_MINIMUMS[tool.tier];
  const grant =
    decision.effect === "forbid" ? { isolation, approvals, confirmation, credentials: [] } : decision.grant;
  return { effect: "permit", policies, reasons, policyDigest, grant };
}

function leastIsolation({ tool }: PreparedCall, host: IsolationClass): IsolationClass {
  const ofTier = strongerIsolation(TIER_MINIMUMS[tool.tier].isolation, host);
  return tool.sandbox.isolation === undefined ? ofTier : strongerIsolation(ofTier, tool.sandbox.isolation);
}

function attempt<T>(work: () => T): { readonly value?: T; readonly error?: GateError } {
  try {
    return { value: work() };
  } catch (error) {
    if (error instanceof GateError) return { error };
    throw error;
  }
}

/** Tries the driver in a folder that is gone afterwards: a check leaves nothing behind. */
async function diagnose(
  isolation: IsolationClass,
  root: string,
  docker: DockerSettings,
): Promise<CheckedCall["host"]> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-check-"));
  try {
    const drivers = createDrivers({ folder, user: sandboxUser(root), docker });
    const driver = drivers.find(({ supports }) => supports.isolation.includes(isolation));
    if (driver !== undefined) return { ...(await driver.probe()), driver: driver.name };
    const detail = `no driver here gives \`${isolation}\` isolation`;
    return { usable: false, driver: null, detail, remedy: "run `callgate doctor`" };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
