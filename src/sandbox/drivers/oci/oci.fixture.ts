import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_LIMITS, type Limits, type Profile } from "../../../contract/profile.ts";
import type { Command, ReleaseOptions } from "../../driver.ts";
import { buildProfile, type ProfileRequest } from "../../grants.ts";
import { type Ran, UNCHECKED } from "../../sandbox.fixture.ts";
import { ROOT_STANDS_BACK, sandboxUser } from "../../user.ts";
import { OciDriver, type OciOptions } from "./driver.ts";
import { RUNTIMES, type RuntimeName } from "./runtimes.ts";

/** A workspace and an OCI driver of their own, for one test. */
export interface OciBench extends AsyncDisposable {
  readonly workspace: string;
  readonly folder: string;
  readonly driver: OciDriver;
  profile(request?: Partial<ProfileRequest>, limits?: Partial<Limits>): Profile;
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
  /** A folder below the workspace, of the sandbox's user. */
  makeFolder(name: string): string;
}

interface RunOptions extends ReleaseOptions {
  readonly profile?: Profile;
  readonly stdin?: Command["stdin"];
}

export function openOciBench(runtime: RuntimeName, options: Partial<OciOptions> = {}): OciBench {
  const base = mkdtempSync(join(tmpdir(), "callgate-oci-"));
  const workspace = join(base, "workspace");
  const own = (path: string): void => {
    if (process.geteuid?.() === 0) chownSync(path, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
  };
  mkdirSync(workspace);
  writeFileSync(join(workspace, "a.txt"), "hello\n");
  for (const path of [base, workspace, join(workspace, "a.txt")]) own(path);
  const folder = join(base, "state");
  const driver = new OciDriver({ runtime, folder, user: sandboxUser(workspace), ...options });
  const profile: OciBench["profile"] = (request = {}, bounds = {}) =>
    buildProfile({
      isolation: RUNTIMES[runtime].isolation,
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
    makeFolder: (name) => {
      const path = join(workspace, name);
      mkdirSync(path);
      own(path);
      return path;
    },
    run: async (argv, { profile: asked, stdin, ...release } = {}) => {
      await using sandbox = await driver.open(asked ?? profile());
      const controls = await sandbox.inspect();
      const command = { argv, ...(stdin === undefined ? {} : { stdin }) };
      const execution = await sandbox.release(UNCHECKED, command, release);
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
