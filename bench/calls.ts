// What a call costs: against a plain spawn, against bare bubblewrap with the same mounts, in one run.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "../src/audit/log.ts";
import { processOwner } from "../src/capability/owner.ts";
import { builtinCatalog } from "../src/catalog/create-catalog.ts";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { DEFAULT_SETTINGS } from "../src/config/defaults.ts";
import { newCallId } from "../src/contract/ids.ts";
import { DEFAULT_LIMITS } from "../src/contract/profile.ts";
import { createJudge } from "../src/intent/decide.ts";
import { openGate } from "../src/open-gate.ts";
import { planBubblewrap } from "../src/sandbox/drivers/bubblewrap/plan.ts";
import { buildProfile } from "../src/sandbox/grants.ts";
import { readHostLayout } from "../src/sandbox/host.ts";
import { ROOT_STANDS_BACK, sandboxUser } from "../src/sandbox/user.ts";
import { inTurn, percentile, printTable } from "./table.ts";

const ROUNDS = 200;
const EXEC_ROUNDS = 40;

const base = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(base, 0o755);
const workspace = join(base, "workspace");
mkdirSync(workspace);
if (process.geteuid?.() === 0) chownSync(workspace, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
const user = sandboxUser(workspace);
const identity = process.geteuid?.() === 0 ? user : {};

function finished(command: string, args: readonly string[], options: object = {}): Promise<void> {
  return new Promise((done, fail) => {
    spawn(command, args, { stdio: "ignore", ...options })
      .on("error", fail)
      .on("close", (code) => (code === 0 ? done() : fail(new Error(`${command} exited with ${code}`))));
  });
}

/** The same namespaces and mounts as the gate's plan; no launcher, no seccomp, nothing read, nothing recorded. */
function bareArguments(): readonly string[] {
  const profile = buildProfile({
    isolation: "process",
    root: { from: "host" },
    files: { read: [workspace], write: [], hide: [] },
    environment: {},
    workspace,
    limits: DEFAULT_LIMITS,
    treeLimits: false,
    ownHidden: [],
    ownProtected: [],
    home: "/nonexistent",
  });
  const { args } = planBubblewrap(profile, {
    host: readHostLayout(),
    kindOf: () => "absent",
    standIns: new Set(),
    enforced: new Set(),
    native: false,
  });
  const bare: string[] = [];
  for (let i = 0; args[i] !== "--"; i += 1) {
    if (args[i] === "--perms" && args[i + 2] === "--file") i += 4;
    else if (args[i] === "--info-fd" || args[i] === "--seccomp") i += 1;
    else bare.push(args[i] ?? "");
  }
  return [...bare, "--", "/usr/bin/true"];
}

async function inProcess(): Promise<void> {
  const tools = [...builtinCatalog().tools.values()];
  const [tool] = tools;
  if (tool === undefined) throw new Error("no tool");
  const judge = await createJudge({ tools, policies: [], environment: DEFAULT_SETTINGS.environment });
  const input = new ExecInput({ command: ["true"] });
  const context = { environment: DEFAULT_SETTINGS.environment, depth: 0 };
  const caller = processOwner();
  const judged = (): unknown =>
    judge.decide(
      {
        id: newCallId(),
        tool: tool.name,
        toolDigest: tool.digest,
        input: input.value,
        caller,
        context,
        receivedMs: 0,
      },
      tool,
    );
  const bare = bareArguments();
  await using gate = await openGate({ workingDirectory: workspace, state: join(base, "state") });
  await using log = await openLog({ stateDir: join(base, "commits"), mode: "worker" });
  const fact = { record: { kind: "policy", digest: tool.digest, summary: "bench" } } as const;
  const rows = await inTurn(
    {
      "one commit, durable and signed": () => log.append([fact]),
      "plain spawn": () => finished("/usr/bin/true", []),
      "bare bwrap, same mounts": () => finished("/usr/bin/bwrap", bare, { env: {}, cwd: "/", ...identity }),
      "gate.call in process": async () => {
        const { outcome, error } = await gate.call({ tool: "callgate.exec", input });
        if (outcome !== "exited") throw new Error(error?.message ?? outcome);
      },
    },
    ROUNDS,
  );
  const decisions = await inTurn({ "decision only": async () => judged() }, 2_000);
  printTable("One call, in process", [...decisions, ...rows]);
  const median = (name: string): number =>
    percentile(rows.find((row) => row.name === name)?.samples ?? [], 0.5);
  const allowed = median("bare bwrap, same mounts") + 2 * median("one commit, durable and signed") + 3;
  console.log(
    `target: gate.call <= bare bwrap + 2 commits + 3 ms = ${allowed.toFixed(2)} ms; is ${median("gate.call in process").toFixed(2)} ms`,
  );
  console.log(`target: decision < 0.5 ms; is ${percentile(decisions[0]?.samples ?? [], 0.5).toFixed(3)} ms`);
}

/** The package as it is published, installed into an empty folder. */
function install(): string {
  const root = join(import.meta.dirname, "..");
  const packed = spawnSync("npm", ["pack", "--silent", "--pack-destination", base, root], {
    encoding: "utf8",
    cwd: root,
  });
  const tarball = join(base, packed.stdout.trim().split("\n").at(-1) ?? "");
  if (packed.status !== 0 || !existsSync(tarball)) throw new Error(`npm pack failed: ${packed.stderr}`);
  const target = join(base, "installed");
  mkdirSync(target);
  const installed = spawnSync(
    "npm",
    ["install", "--silent", "--no-audit", "--no-fund", "--prefix", target, tarball],
    { encoding: "utf8" },
  );
  if (installed.status !== 0) throw new Error(`npm install failed: ${installed.stderr}`);
  return join(target, "node_modules/callgate/bin/callgate.js");
}

async function oneShot(): Promise<void> {
  const bin = install();
  const bare = bareArguments();
  const state = ["--state", join(base, "exec-state")];
  const options = { cwd: workspace };
  const rows = await inTurn(
    {
      "node -e 0": () => finished(process.execPath, ["-e", "0"]),
      "bare bwrap, same mounts": () => finished("/usr/bin/bwrap", bare, { env: {}, cwd: "/", ...identity }),
      "callgate exec -- true": () =>
        finished(process.execPath, [bin, ...state, "exec", "--", "true"], options),
    },
    EXEC_ROUNDS,
  );
  printTable("One command, a process of its own (installed from the packed tarball)", rows);
  const median = (name: string): number =>
    percentile(rows.find((row) => row.name === name)?.samples ?? [], 0.5);
  const allowed = 2 * median("node -e 0") + median("bare bwrap, same mounts");
  console.log(
    `target: exec <= 2 x node -e 0 + bare bwrap = ${allowed.toFixed(1)} ms; is ${median("callgate exec -- true").toFixed(1)} ms`,
  );
  const cold = await inTurn(
    {
      "callgate exec, decision not remembered": () => {
        rmSync(join(base, "exec-state"), { recursive: true, force: true });
        return finished(process.execPath, [bin, ...state, "exec", "--", "true"], options);
      },
    },
    10,
  );
  printTable("The first command of a new state folder (keys and log made, Cedar loaded)", cold);
}

try {
  await inProcess();
  await oneShot();
} finally {
  rmSync(base, { recursive: true, force: true });
}
