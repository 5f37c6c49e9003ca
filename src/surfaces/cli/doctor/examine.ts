import { arch, platform, release } from "node:os";
import { TIER_MINIMUMS, TIERS, type Tier } from "../../../contract/tier.ts";
import { LIMITED } from "../../../sandbox/limits/backend.ts";
import { detectLimits } from "../../../sandbox/limits/detect.ts";
import { count } from "../output.ts";
import { FINDING_GROUPS, type Finding } from "./finding.ts";
import { examinePrograms } from "./programs.ts";
import { examineSandboxes, type SandboxFindings } from "./sandbox.ts";
import { examineState } from "./state.ts";

const NODE_MAJOR_MIN = 24;

/** Looks at everything a call needs, once; changes nothing that stays. */
export async function examine(stateDir: string, root: string): Promise<readonly Finding[]> {
  const host = examineHost();
  const sandboxes = await examineSandboxes(root);
  const state = await examineState(stateDir, root);
  const sound = [...host, ...state].every((finding) => finding.state !== "missing");
  const tiers = TIERS.map((tier) => examineTier(tier, sandboxes, sound));
  const all = [...tiers, ...host, ...sandboxes.findings, ...state, ...examinePrograms()];
  return all.toSorted((a, b) => FINDING_GROUPS.indexOf(a.group) - FINDING_GROUPS.indexOf(b.group));
}

function examineHost(): readonly Finding[] {
  const major = Number(process.versions.node.split(".")[0]);
  const isLinux = platform() === "linux";
  return [
    {
      group: "host",
      name: "node",
      detail: process.version,
      ...(major >= NODE_MAJOR_MIN
        ? { state: "ok" }
        : { state: "missing", remedy: `install Node.js ${NODE_MAJOR_MIN} or newer` }),
    },
    {
      group: "host",
      name: "kernel",
      detail: `${platform()} ${release()}, ${arch()}`,
      ...(isLinux ? { state: "ok" } : { state: "missing", remedy: "run the gate on Linux" }),
    },
    { group: "host", name: "limits", state: "ok", detail: isLinux ? detectLimits().name : "none" },
  ];
}

/** Whether tools of a tier can run: its isolation, every control it needs, and whether people can be asked. */
function examineTier(tier: Tier, { controls }: SandboxFindings, sound: boolean): Finding {
  const minimum = TIER_MINIMUMS[tier];
  const found = { group: "tiers", name: tier } as const;
  const needs = `${minimum.isolation} isolation${minimum.treeLimits ? ", a cgroup" : ""}${minimum.approvals > 0 ? `, ${count(minimum.approvals, "approval")}` : ""}`;
  if (minimum.approvals > 0) {
    return { ...found, state: "later", detail: `needs ${needs}; this version cannot ask people` };
  }
  const seen = controls.get(minimum.isolation);
  if (seen === undefined || !sound) {
    const remedy = "mend what is missing below";
    return { ...found, state: "missing", detail: `needs ${needs}`, remedy };
  }
  const wanted = [...minimum.controls, ...(minimum.treeLimits ? LIMITED : [])];
  const lacking = wanted.filter((name) => seen[name].state !== "enforced");
  if (lacking.length === 0) return { ...found, state: "ok", detail: `needs ${needs}, and has it` };
  const detail = `not enforced here: ${lacking.join(", ")}`;
  return { ...found, state: "missing", detail, remedy: "mend what is missing below" };
}
