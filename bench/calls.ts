// What a call costs, stage by stage; `confined.ts` holds it against other ways of launching.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "../src/audit/log.ts";
import { processOwner } from "../src/capability/owner.ts";
import { builtinCatalog } from "../src/catalog/create-catalog.ts";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { DEFAULT_SETTINGS } from "../src/config/defaults.ts";
import { newCallId } from "../src/contract/ids.ts";
import { createJudge } from "../src/intent/decide.ts";
import { openGate } from "../src/open-gate.ts";
import { bwrapCommand, finished, installCallgate, makeWorkspace } from "./peers.ts";
import { inTurn, percentile, printTable } from "./table.ts";

const ROUNDS = 200;
const EXEC_ROUNDS = 40;

const base = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(base, 0o755);
const place = makeWorkspace(base);
const { workspace } = place;

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
        network: { mode: "none" },
        caller,
        context,
        receivedMs: 0,
      },
      tool,
    );
  const bare = bwrapCommand(place);
  await using gate = await openGate({ workingDirectory: workspace, state: join(base, "state") });
  await using log = await openLog({ stateDir: join(base, "commits"), mode: "worker" });
  const fact = { record: { kind: "policy", digest: tool.digest, summary: "bench" } } as const;
  const rows = await inTurn(
    {
      "one commit, durable and signed": () => log.append([fact]),
      "plain spawn": () => finished("/usr/bin/true", []),
      "bare bwrap, same mounts": bare,
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

async function oneShot(): Promise<void> {
  const bin = installCallgate(place);
  const bare = bwrapCommand(place);
  const state = ["--state", join(base, "exec-state")];
  const options = { cwd: workspace };
  const rows = await inTurn(
    {
      "node -e 0": () => finished(process.execPath, ["-e", "0"]),
      "bare bwrap, same mounts": bare,
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
