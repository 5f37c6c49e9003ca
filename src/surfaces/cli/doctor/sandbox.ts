import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import { DEFAULT_LIMITS } from "../../../contract/profile.ts";
import { CONTROLS, ISOLATION_CLASSES, type IsolationClass, TIER_MINIMUMS } from "../../../contract/tier.ts";
import type { Driver } from "../../../sandbox/driver.ts";
import { createDrivers } from "../../../sandbox/drivers/registry.ts";
import { buildProfile } from "../../../sandbox/grants.ts";
import { sandboxUser } from "../../../sandbox/user.ts";
import type { Finding } from "./finding.ts";

/** What the sandboxes of this host give. */
export interface SandboxFindings {
  readonly findings: readonly Finding[];
  /** Read from a sandbox that was built for the purpose; by class, absent where none could be built. */
  readonly controls: ReadonlyMap<IsolationClass, Controls>;
}

const NO_DRIVER = "this version has no driver of this class";
const CGROUP_REMEDY =
  "run the gate as root, or under a delegated cgroup v2: systemd-run --user --scope -p Delegate=yes";

/** Builds a sandbox of every class there is a driver for, and reads what the kernel says of it. Runs no tool. */
export async function examineSandboxes(root: string): Promise<SandboxFindings> {
  const base = mkdtempSync(join(tmpdir(), "callgate-doctor-"));
  const empty = join(base, "workspace");
  mkdirSync(empty);
  // The sandbox's user has to get there, and it may be another one than ours.
  for (const path of [base, empty]) chmodSync(path, 0o755);
  const drivers = createDrivers({ folder: join(base, "own"), user: sandboxUser(root) });
  const findings: Finding[] = [];
  const controls = new Map<IsolationClass, Controls>();
  try {
    for (const isolation of ISOLATION_CLASSES) {
      const driver = drivers.find(({ supports }) => supports.isolation.includes(isolation));
      if (driver === undefined) {
        findings.push({ group: "isolation", name: isolation, state: "later", detail: NO_DRIVER });
        continue;
      }
      const tried = await examineDriver(driver, isolation, empty);
      findings.push(...tried.findings);
      if (tried.controls !== undefined) controls.set(isolation, tried.controls);
      if (tried.controls !== undefined) findings.push(await examineWorkspace(driver, isolation, root));
    }
  } finally {
    for (const driver of drivers) await driver[Symbol.asyncDispose]();
    rmSync(base, { recursive: true, force: true });
  }
  return { findings, controls };
}

async function examineDriver(
  driver: Driver,
  isolation: IsolationClass,
  workspace: string,
): Promise<{ readonly findings: readonly Finding[]; readonly controls?: Controls }> {
  const found = { group: "isolation", name: isolation } as const;
  const { usable, detail, remedy } = await driver.probe();
  if (!usable) {
    const lack = { state: "missing", detail: `${driver.name}: ${detail}` } as const;
    return { findings: [{ ...found, ...lack, ...(remedy === undefined ? {} : { remedy }) }] };
  }
  const controls = await inspect(driver, isolation, workspace, []);
  if (controls instanceof GateError) {
    const lack = { state: "missing", detail: `${driver.name}: ${controls.message}` } as const;
    return { findings: [{ ...found, ...lack }] };
  }
  const usableRow: Finding = { ...found, state: "ok", detail: `${driver.name}: ${detail}` };
  return { findings: [usableRow, ...CONTROLS.map((name) => controlFinding(name, controls))], controls };
}

function controlFinding(name: (typeof CONTROLS)[number], controls: Controls): Finding {
  const { state, evidence } = controls[name];
  const found = { group: "controls", name, detail: evidence } as const;
  if (state === "enforced") return { ...found, state: "ok" };
  if (name === "lsm") return { ...found, state: "later" };
  const isLimit = name === "memory" || name === "processes" || name === "cpu";
  return { ...found, state: "missing", remedy: isLimit ? CGROUP_REMEDY : "run where the kernel allows it" };
}

/** Whether a sandbox can be built around this very folder: its user may be one that cannot enter it. */
async function examineWorkspace(driver: Driver, isolation: IsolationClass, root: string): Promise<Finding> {
  const { uid, gid } = sandboxUser(root);
  const found = { group: "folder", name: "here", detail: `${root}, as user ${uid}, group ${gid}` } as const;
  const built = await inspect(driver, isolation, root, [root]);
  if (!(built instanceof GateError)) return { ...found, state: "ok" };
  const remedy = built.message.includes("Permission denied")
    ? `chmod u+rx ${root}, or run the gate as the owner of that folder`
    : (built.remedy ?? "work in another folder");
  return { ...found, state: "missing", detail: `${found.detail}: ${built.message}`, remedy };
}

async function inspect(
  driver: Driver,
  isolation: IsolationClass,
  workspace: string,
  read: readonly string[],
): Promise<Controls | GateError> {
  try {
    const profile = buildProfile({
      isolation,
      files: { read, write: [], hide: [] },
      environment: {},
      workspace,
      workingDirectory: read[0] ?? "/tmp",
      limits: DEFAULT_LIMITS,
      treeLimits: TIER_MINIMUMS.low.treeLimits,
      ownHidden: [],
      ownProtected: [],
      home: homedir(),
    });
    await using sandbox = await driver.open(profile);
    return await sandbox.inspect();
  } catch (error) {
    if (error instanceof GateError) return error;
    throw error;
  }
}
