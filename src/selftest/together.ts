import { randomBytes } from "node:crypto";
import { GateError } from "../contract/errors.ts";
import { type Ground, profileOf, type Target, type Trial } from "./attempt.ts";
import { runInside } from "./inside.ts";
import type { Probe, Seen, Stage } from "./probe.ts";
import { makeScene, type Scene } from "./scene.ts";

/**
 * Runs probes one after another in one sandbox: those that only look, and so leave nothing that another could see. Most
 * of a run is the start of sandboxes.
 * @returns undefined where not all of them came to their end, so that each has to be run alone.
 */
export async function tryTogether(
  probes: readonly Probe[],
  { driver, isolation }: Target,
  ground: Ground,
): Promise<ReadonlyMap<Probe, Trial> | undefined> {
  using scene = makeScene(ground.folder, ground.user);
  const stages: Stage[] = [];
  const [first] = probes;
  if (first === undefined) return undefined;
  try {
    for (const probe of probes) stages.push((await probe.stage?.(scene)) ?? {});
    const profile = profileOf(first, isolation, scene, {});
    const mark = randomBytes(12).toString("hex");
    const script = probes.map((probe, index) => step(mark, index, probe, stages[index] ?? {})).join("");
    const seen = await runInside(driver, profile, ["/bin/sh", "-c", script], ground.capability, {});
    return await trialsOf(probes, stages, scene, partsOf(seen, mark));
  } catch (error) {
    if (error instanceof GateError) return undefined;
    throw error;
  } finally {
    for (const stage of stages) await stage.close?.();
  }
}

function step(mark: string, index: number, { program }: Probe, { args = [] }: Stage): string {
  const words = [...program.argv, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return `printf '\\n%s\\n' '${mark} ${index}'\n${words.join(" ")} 2>&1\nprintf '\\n%s %s\\n' '${mark} end' "$?"\n`;
}

/** What each said, in order; a part that has no end is missing. */
function partsOf(seen: Seen, mark: string): readonly Seen[] {
  const parts = seen.stdout
    .toString("utf8")
    .matchAll(new RegExp(`^${mark} \\d+\\n([\\s\\S]*?)\\n${mark} end (\\d+)$`, "gm"));
  return [...parts].map(([, said = "", code]) => ({
    ending: { kind: "exited", exitCode: Number(code), signal: null },
    stdout: Buffer.from(said),
    stderr: Buffer.alloc(0),
    wallMs: seen.wallMs,
  }));
}

async function trialsOf(
  probes: readonly Probe[],
  stages: readonly Stage[],
  { secret }: Scene,
  parts: readonly Seen[],
): Promise<ReadonlyMap<Probe, Trial> | undefined> {
  if (parts.length !== probes.length) return undefined;
  const trials = new Map<Probe, Trial>();
  for (const [index, probe] of probes.entries()) {
    const seen = parts[index];
    if (seen !== undefined) trials.set(probe, { seen, secret, effect: await stages[index]?.effect?.() });
  }
  return trials;
}
