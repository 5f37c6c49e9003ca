import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Capability } from "../contract/capability.ts";
import type { Controls, Execution } from "../contract/execution.ts";
import { DEFAULT_LIMITS, type Limits, type Profile } from "../contract/profile.ts";
import type { Command, ReleaseOptions } from "./driver.ts";
import { BubblewrapDriver } from "./drivers/bubblewrap/driver.ts";
import { buildProfile, type ProfileRequest } from "./grants.ts";
import type { LimitBackend } from "./limits/backend.ts";
import { ROOT_STANDS_BACK, sandboxUser } from "./user.ts";

/** A workspace and a driver of their own, for one test. */
export interface Bench extends AsyncDisposable {
  readonly workspace: string;
  readonly folder: string;
  readonly driver: BubblewrapDriver;
  profile(request?: Partial<ProfileRequest>, limits?: Partial<Limits>): Profile;
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
}

interface RunOptions extends ReleaseOptions {
  readonly profile?: Profile;
  readonly stdin?: Command["stdin"];
}

export interface Ran {
  readonly controls: Controls;
  readonly execution: Execution;
  readonly stdout: string;
  readonly stderr: string;
}

/** Tests of a driver stand below the gate, so no capability was drawn; the type is what is tested elsewhere. */
export const UNCHECKED: Capability = Object.freeze({}) as never;

/** @param launcher null: bash, also where the native launcher was built. */
export function openBench(limits?: LimitBackend, launcher?: null): Bench {
  const base = mkdtempSync(join(tmpdir(), "callgate-bench-"));
  const workspace = join(base, "workspace");
  mkdirSync(workspace);
  writeFileSync(join(workspace, "a.txt"), "hello\n");
  if (process.geteuid?.() === 0) {
    for (const path of [base, workspace, join(workspace, "a.txt")]) {
      chownSync(path, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
    }
  }
  const folder = join(base, "state");
  const driver = new BubblewrapDriver({
    folder,
    user: sandboxUser(workspace),
    ...(limits === undefined ? {} : { limits }),
    ...(launcher === undefined ? {} : { launcher }),
  });
  const profile: Bench["profile"] = (request = {}, bounds = {}) =>
    buildProfile({
      isolation: "process",
      root: { from: "host" },
      files: { read: ["."], write: [], hide: [] },
      environment: {},
      workspace,
      ownHidden: [],
      ownProtected: [],
      home: "/nonexistent",
      treeLimits: false,
      limits: { ...DEFAULT_LIMITS, ...bounds },
      ...request,
    });
  return {
    workspace,
    folder,
    driver,
    profile,
    run: async (argv, { profile: asked, stdin, ...options } = {}) => {
      await using sandbox = await driver.open(asked ?? profile());
      const controls = await sandbox.inspect();
      const command = { argv, ...(stdin === undefined ? {} : { stdin }) };
      const execution = await sandbox.release(UNCHECKED, command, options);
      const text = (name: "stdout" | "stderr"): string =>
        execution.outcome === "unstarted" ? "" : Buffer.from(execution[name]).toString("utf8");
      return { controls, execution, stdout: text("stdout"), stderr: text("stderr") };
    },
    [Symbol.asyncDispose]: async () => {
      await driver[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    },
  };
}
