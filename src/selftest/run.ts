import { GateError } from "../contract/errors.ts";
import type { IsolationClass } from "../contract/tier.ts";
import { within } from "../sandbox/deadline.ts";
import type { Diagnosis, Driver } from "../sandbox/driver.ts";
import { createDrivers, type DriverHost } from "../sandbox/drivers/registry.ts";
import {
  type Ground,
  profileOf,
  type Target,
  type Trial,
  tryInside,
  tryOutside,
  useInside,
  useOutside,
} from "./attempt.ts";
import { openGround, selftestCapability } from "./ground.ts";
import { judge, type Show, type State } from "./judge.ts";
import { inParallel } from "./parallel.ts";
import type { Probe, Seen, Usability } from "./probe.ts";
import { PROBES } from "./probes.ts";
import { makeScene } from "./scene.ts";
import { tryTogether } from "./together.ts";
import { USABILITY } from "./usability.ts";

/** Probes under way at once. */
const PROBES_AT_ONCE_MAX = 4;

/** How long one attempt may take, the sandbox and all; programs end themselves, or their limits end them, before. */
const ATTEMPT_MS_MAX = 60_000;
const TOO_LONG = `the driver took longer than ${ATTEMPT_MS_MAX / 1000} s over it`;

/** Where drivers are made; the published package has what was built from it. */
const REGISTRY = import.meta.resolve(
  `../sandbox/drivers/registry${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
);

export interface ProbeResult {
  readonly id: string;
  readonly title: string;
  readonly state: State;
  readonly detail: string;
}

export interface UsabilityResult {
  readonly id: string;
  readonly title: string;
  /** `untried`: this host does not have it; the detail says what became of it outside. */
  readonly state: "works" | "fails" | "untried";
  readonly detail: string;
}

/** What one driver does for one isolation class; nothing was tried where it cannot run here. */
export interface TargetResult extends Diagnosis {
  readonly driver: string;
  readonly isolation: IsolationClass;
  readonly probes: readonly ProbeResult[];
  readonly usability: readonly UsabilityResult[];
}

export interface SelftestOptions {
  /** How output is made fit for a person, which some probes are about. */
  readonly show: Show;
  /** Unset: every driver there is. */
  readonly drivers?: (host: DriverHost) => readonly Driver[];
  /** What configuration says of drivers. */
  readonly host?: Omit<DriverHost, "folder" | "user">;
  /** The module they are from, for the probes that need a gate in another process. */
  readonly registry?: string;
  /** Which of them, and for which class. */
  readonly wanted?: (driver: string, isolation: IsolationClass) => boolean;
  readonly probes?: readonly Probe[];
  readonly usability?: readonly Usability[];
  /** Every probe in a sandbox of its own. */
  readonly alone?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting ends it after the probes that are under way. */
  readonly signal?: AbortSignal;
}

export interface Progress {
  readonly driver: string;
  readonly done: number;
  readonly all: number;
}

/** A selftest of everything a host has, built when it is asked for. */
export interface Selftest extends AsyncDisposable {
  readonly targets: readonly Target[];
  readonly probes: readonly Probe[];
  readonly usability: readonly Usability[];
  /** Whether a sandbox can be had of it at all; where it cannot, what is missing. */
  diagnose(target: Target): Promise<Diagnosis>;
  probe(probe: Probe, target: Target): Promise<ProbeResult>;
  use(use: Usability, target: Target): Promise<UsabilityResult>;
}

/** Tries every driver with every probe. A driver that cannot run here is told, with what would make it. */
export async function runSelftest(options: SelftestOptions): Promise<readonly TargetResult[]> {
  await using selftest = openSelftest(options);
  const results: TargetResult[] = [];
  for (const target of selftest.targets) {
    const { name } = target.driver;
    const diagnosis = await selftest.diagnose(target);
    const found = { driver: name, isolation: target.isolation, ...diagnosis };
    if (!diagnosis.usable) {
      results.push({ ...found, probes: [], usability: [] });
      continue;
    }
    let done = 0;
    const all = selftest.probes.length + selftest.usability.length;
    const step = <T>(result: T): T => {
      done += 1;
      options.onProgress?.({ driver: name, done, all });
      return result;
    };
    const each = <T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> =>
      inParallel(PROBES_AT_ONCE_MAX, items, async (item) => step(await work(item)), options.signal);
    const probes = await each(selftest.probes, (probe) => selftest.probe(probe, target));
    const usability = await each(selftest.usability, (use) => selftest.use(use, target));
    results.push({ ...found, probes, usability });
  }
  return results;
}

/** Whether everything that was tried holds and works, and of each driver something was shown. */
export function holds(results: readonly TargetResult[]): boolean {
  const tried = results.filter(({ usable }) => usable);
  return (
    tried.length > 0 &&
    tried.every(
      ({ probes, usability }) =>
        (probes.length === 0 || probes.some(({ state }) => state === "held")) &&
        (probes.length > 0 || usability.some(({ state }) => state === "works")) &&
        probes.every(({ state }) => state === "held" || state === "unshown") &&
        usability.every(({ state }) => state !== "fails"),
    )
  );
}

/** @throws GateError `ERR_USAGE` where `wanted` leaves no driver. */
export function openSelftest(options: SelftestOptions): Selftest {
  const { probes = PROBES, usability = USABILITY, wanted = () => true, show } = options;
  const place = openGround();
  const ground: Ground = {
    folder: place.scenes,
    own: place.own,
    user: place.user,
    capability: selftestCapability(),
    registry: options.registry ?? REGISTRY,
    host: options.host ?? {},
  };
  const host: DriverHost = { folder: place.own, user: place.user, ...options.host };
  const drivers = (options.drivers ?? createDrivers)(host);
  const targets = targetsOf(drivers, wanted);
  if (targets instanceof GateError) {
    place[Symbol.dispose]();
    throw targets;
  }
  // A control says something of the host and not of a driver: once is enough.
  const controls = new Map<Probe, Promise<Trial>>();
  const installed = new Map<Usability, Promise<Seen>>();
  const groups = new Map<string, Promise<ReadonlyMap<Probe, Trial> | undefined>>();
  const attempt = async (probe: Probe, target: Target): Promise<Trial> => {
    const { together } = probe;
    if (together === undefined || options.alone === true) return await tryInside(probe, target, ground);
    const group = probes.filter((one) => one.together === together);
    const name = `${target.driver.name} ${target.isolation} ${together}`;
    const trials = await remembered(groups, name, () => tryTogether(group, target, ground));
    return trials?.get(probe) ?? (await tryInside(probe, target, ground));
  };
  return {
    targets,
    probes,
    usability,
    diagnose: async ({ driver, isolation }) => {
      const diagnosis = await driver.probe();
      const refused = diagnosis.usable ? await whyRefused(driver, isolation, ground) : undefined;
      return refused ?? diagnosis;
    },
    probe: async (probe, target) => {
      const { id, title } = probe;
      try {
        const control = await remembered(controls, probe, () => tryOutside(probe, ground));
        const inside = await within(ATTEMPT_MS_MAX, attempt(probe, target));
        if (inside === undefined) return { id, title, state: "broken", detail: TOO_LONG };
        return { id, title, ...judge(probe, control, inside, target.isolation, show) };
      } catch (error) {
        return { id, title, state: "broken", detail: `the selftest itself failed: ${messageOf(error)}` };
      }
    },
    use: async (use, target) => {
      const { id, title } = use;
      if (use.ifInstalled === true) {
        const outside = use.complaint(await remembered(installed, use, () => useOutside(use, ground)));
        if (outside !== undefined) return { id, title, state: "untried", detail: outside };
      }
      const inside = await within(ATTEMPT_MS_MAX, useInside(use, target, ground));
      if (inside === undefined) return { id, title, state: "fails", detail: TOO_LONG };
      if (use.ifInstalled === true && hasOwnRoot(target.driver) && isNotFound(inside)) {
        return { id, title, state: "untried", detail: "not in this sandbox's root file system" };
      }
      const complaint = use.complaint(inside);
      return { id, title, state: complaint === undefined ? "works" : "fails", detail: complaint ?? "" };
    },
    [Symbol.asyncDispose]: async () => {
      for (const driver of drivers) await driver[Symbol.asyncDispose]();
      place[Symbol.dispose]();
    },
  };
}

function targetsOf(
  drivers: readonly Driver[],
  wanted: NonNullable<SelftestOptions["wanted"]>,
): readonly Target[] | GateError {
  const all = drivers.flatMap((driver) =>
    driver.supports.isolation.map((isolation): Target => ({ driver, isolation })),
  );
  const targets = all.filter(({ driver, isolation }) => wanted(driver.name, isolation));
  if (targets.length > 0 || all.length === 0) return targets;
  const known = all.map(({ driver, isolation }) => `${driver.name} (${isolation})`).join(", ");
  return new GateError("ERR_USAGE", "there is no such driver", { remedy: `choose among ${known}` });
}

/** A driver that works and refuses the plainest profile: it lacks something that configuration would have to name. */
async function whyRefused(
  driver: Driver,
  isolation: IsolationClass,
  ground: Ground,
): Promise<Diagnosis | undefined> {
  using scene = makeScene(ground.folder, ground.user);
  try {
    await using _sandbox = await driver.open(profileOf({ grant: "none" }, isolation, scene, {}));
    return undefined;
  } catch (error) {
    if (!(error instanceof GateError) || error.code !== "ERR_CONTROL_UNAVAILABLE") return undefined;
    const { message, remedy } = error;
    return { usable: false, detail: message, ...(remedy === undefined ? {} : { remedy }) };
  }
}

function remembered<K, V>(known: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const promise = known.get(key) ?? make();
  known.set(key, promise);
  return promise;
}

/** Its programs are an image's, and need not be the host's. */
function hasOwnRoot({ supports }: Driver): boolean {
  return supports.roots?.includes("image") === true;
}

/** A shell's exit code for a program that is not there. */
function isNotFound({ ending }: Seen): boolean {
  return ending.kind === "exited" && ending.exitCode === 127;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
