import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Controls } from "../contract/execution.ts";
import type { Profile } from "../contract/profile.ts";
import { CONTROLS } from "../contract/tier.ts";
import { type Driver, type Sandbox, verifiedBut } from "../sandbox/driver.ts";
import type { HostUser } from "../sandbox/user.ts";
import { outsideArgv, runOutside } from "./outside.ts";
import type { Outside } from "./probe.ts";
import type { Scene } from "./scene.ts";

/**
 * A driver that confines nothing and says that it enforces everything: what a probe must find out. A program runs
 * where its control does.
 */
export function openDriver(user: HostUser, outside: Outside): Driver {
  return {
    name: "open",
    supports: {
      isolation: ["process"],
      network: ["none"],
      maskedPaths: true,
      airlock: true,
      evidence: verifiedBut({}),
    } as Driver["supports"],
    probe: async () => ({ usable: true, detail: "confines nothing" }),
    open: async (profile) => openSandbox(profile, user, outside),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function openSandbox(profile: Profile, user: HostUser, outside: Outside): Sandbox {
  const base = join(profile.workingDirectory, "..");
  const secret = readFileSync(join(base, "outside/secret.txt"), "utf8").trim();
  const scene = {
    base,
    user,
    secret,
    workspace: profile.workingDirectory,
    home: join(base, "home"),
    outside: join(base, "outside"),
  } as Scene;
  return {
    driver: "open",
    inspect: async () => ENFORCED,
    release: async (_capability, { argv, stdin }) => {
      const whole = outsideArgv(outside, argv, scene);
      const seen = await runOutside(whole, scene, stdin === undefined ? {} : { stdin: stdin as Uint8Array });
      const { stdout, stderr, wallMs, ending } = seen;
      if (ending.kind !== "exited") throw new Error(`the open driver could not start ${whole[0]}`);
      return {
        outcome: "exited",
        exitCode: ending.exitCode,
        signal: ending.signal as NodeJS.Signals | null,
        stdout,
        stderr,
        stdoutBytes: stdout.length,
        stderrBytes: stderr.length,
        usage: { wallMs, cpuMs: null, memoryBytesMax: null },
        denials: [],
      };
    },
    [Symbol.asyncDispose]: async () => undefined,
  } as Partial<Sandbox> as Sandbox;
}

const ENFORCED = Object.fromEntries(
  CONTROLS.map((name) => [name, { state: "enforced", basis: "reported", evidence: "so it says" }]),
) as unknown as Controls;
