import { join } from "node:path";
import type { Capability } from "../contract/capability.ts";
import { GateError } from "../contract/errors.ts";
import { DEFAULT_LIMITS, type Limits, type Profile } from "../contract/profile.ts";
import type { IsolationClass } from "../contract/tier.ts";
import type { Driver } from "../sandbox/driver.ts";
import type { DriverHost } from "../sandbox/drivers/registry.ts";
import { buildProfile } from "../sandbox/grants.ts";
import type { HostUser } from "../sandbox/user.ts";
import { runInheriting } from "./inheriting.ts";
import { refused, runInside } from "./inside.ts";
import { outsideArgv, runOutside } from "./outside.ts";
import type { Probe, Seen, Stage, Usability } from "./probe.ts";
import { makeScene, type Scene } from "./scene.ts";

/** A probe's program is ended by this where its own limits do not say otherwise. */
const PROBE_WALL_MS = 15_000;

/** Room enough for a compiler and for Node, which is no point of the usability probes. */
const USABLE: Partial<Limits> = { memoryBytes: 2 * 1024 ** 3, processes: 256 };

/** What every attempt is made from. */
export interface Ground {
  /** A folder for scenes, open to the sandbox's user. */
  readonly folder: string;
  readonly user: HostUser;
  readonly capability: Capability;
  /** For the drivers' own files. */
  readonly own: string;
  /** What configuration says of drivers. */
  readonly host: Omit<DriverHost, "folder" | "user">;
  /** The module that makes drivers, for a gate in another process. */
  readonly registry: string;
}

/** A sandbox to try. */
export interface Target {
  readonly driver: Driver;
  readonly isolation: IsolationClass;
}

/** One run and what the host saw of it. */
export interface Trial {
  readonly seen: Seen;
  readonly secret: string;
  readonly effect: string | undefined;
}

/** Runs a probe's program with nothing around it. */
export async function tryOutside(probe: Probe, ground: Ground): Promise<Trial> {
  return await onStage(probe, ground, async (scene, stage) => {
    stage.beforeOpen?.();
    await stage.whileWaiting?.();
    const argv = [...probe.program.argv, ...(stage.args ?? [])];
    return await runOutside(outsideArgv(probe.outside ?? "plain", argv, scene), scene, stage);
  });
}

/** Runs a probe's program in a sandbox, as the gate would: built, inspected, and let in only if that is sound. */
export async function tryInside(probe: Probe, { driver, isolation }: Target, ground: Ground): Promise<Trial> {
  return await onStage(probe, ground, async (scene, stage) => {
    try {
      const profile = profileOf(probe, isolation, scene, stage);
      stage.beforeOpen?.();
      const argv = [...probe.program.argv, ...(stage.args ?? [])];
      if (stage.inherits !== undefined)
        return await runInheriting(driver.name, profile, argv, ground, stage.inherits);
      return await runInside(driver, profile, argv, ground.capability, { whileWaiting: stage.whileWaiting });
    } catch (error) {
      if (error instanceof GateError) return refused(error.message);
      throw error;
    }
  });
}

/** The same for a program that has to work; its workspace can be written, and the gate's own Node read. */
export async function useInside(
  use: Usability,
  { driver, isolation }: Target,
  ground: Ground,
): Promise<Seen> {
  using scene = makeScene(ground.folder, ground.user);
  try {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a place in a grant, filled where the profile is built
    const grant = (): { read: string[]; write: string[] } => ({ read: ["${node}"], write: ["."] });
    const profile = profileOf({ grant, limits: USABLE }, isolation, scene, {});
    return await runInside(driver, profile, use.program.argv, ground.capability, { stdin: use.stdin });
  } catch (error) {
    if (error instanceof GateError) return refused(error.message);
    throw error;
  }
}

export async function useOutside(use: Usability, ground: Ground): Promise<Seen> {
  using scene = makeScene(ground.folder, ground.user);
  return await runOutside(use.program.argv, scene, use);
}

async function onStage(
  probe: Probe,
  ground: Ground,
  run: (scene: Scene, stage: Stage) => Promise<Seen>,
): Promise<Trial> {
  using scene = makeScene(ground.folder, ground.user);
  const stage = (await probe.stage?.(scene)) ?? {};
  const over = new AbortController();
  try {
    const beside = stage.meanwhile?.(over.signal);
    const seen = await run(scene, stage);
    over.abort();
    await beside;
    return { seen, secret: scene.secret, effect: await stage.effect?.() };
  } finally {
    over.abort();
    await stage.close?.();
  }
}

/** The profile of a probe on its scene. @throws GateError where it may not be granted. */
export function profileOf(
  probe: Pick<Probe, "grant" | "limits" | "treeLimits">,
  isolation: IsolationClass,
  scene: Scene,
  stage: Stage,
): Profile {
  const files = { none: {}, read: { read: ["."] }, write: { write: ["."] } };
  const { grant = "write" } = probe;
  const { read = [], write = [] }: { read?: string[]; write?: string[] } =
    typeof grant === "function" ? grant(scene) : files[grant];
  return buildProfile({
    isolation,
    files: { read, write, hide: [...scene.hide, ...(stage.hide ?? [])] },
    environment: {},
    workspace: scene.workspace,
    limits: { ...DEFAULT_LIMITS, wallMs: PROBE_WALL_MS, ...probe.limits },
    treeLimits: probe.treeLimits ?? false,
    ownHidden: [join(scene.base, "state")],
    ownProtected: scene.protect,
    home: scene.home,
  });
}
