import type { Capability } from "../contract/capability.ts";
import type { Execution } from "../contract/execution.ts";
import type { Profile } from "../contract/profile.ts";
import { TIER_MINIMUMS } from "../contract/tier.ts";
import type { Driver } from "../sandbox/driver.ts";
import type { Ending, Seen, Stage } from "./probe.ts";

/** Builds a sandbox, inspects it, and lets a program in only if what every tier needs is enforced: as the gate does. */
export async function runInside(
  driver: Driver,
  profile: Profile,
  argv: readonly string[],
  capability: Capability,
  { whileWaiting, stdin }: { whileWaiting?: Stage["whileWaiting"]; stdin?: Uint8Array | undefined },
): Promise<Seen> {
  await using sandbox = await driver.open(profile);
  await whileWaiting?.();
  const controls = await sandbox.inspect();
  const missing = TIER_MINIMUMS.low.controls.filter((name) => controls[name].state !== "enforced");
  if (missing.length > 0) {
    return refused(missing.map((name) => `${name}: ${controls[name].evidence}`).join("; "));
  }
  const begun = performance.now();
  const execution = await sandbox.release(capability, { argv, ...(stdin === undefined ? {} : { stdin }) });
  return seenOf(execution, performance.now() - begun);
}

function seenOf(execution: Execution, wallMs: number): Seen {
  if (execution.outcome === "unstarted") {
    return { ...refused(""), ending: { kind: "unstarted", why: execution.message }, wallMs };
  }
  const ending: Ending =
    execution.outcome === "killed"
      ? { kind: "killed", by: execution.killedBy }
      : { kind: "exited", exitCode: execution.exitCode, signal: execution.signal };
  const { stdout, stderr, usage } = execution;
  return { ending, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr), wallMs, cpuMs: usage.cpuMs };
}

/** Nothing ran. */
export function refused(why: string): Seen {
  return { ending: { kind: "refused", why }, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), wallMs: 0 };
}
