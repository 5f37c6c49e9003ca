import type { Stage } from "./stage.ts";
import type { Finding } from "./step.ts";

/** What `callgate demo --json` prints. */
export interface Summary {
  /** Every step went as it should, or was skipped for want of a program. */
  readonly ok: boolean;
  readonly steps: number;
  readonly skipped: number;
  readonly ms: number;
  /** Where it played, when it stays. */
  readonly kept: { readonly workspace: string; readonly state: string } | null;
  readonly findings: readonly Finding[];
}

export function sumUp(findings: readonly Finding[], ms: number, stage: Stage): Summary {
  const wrong = findings.filter(({ verdict }) => verdict === "wrong");
  return {
    ok: wrong.length === 0,
    steps: findings.length,
    skipped: findings.filter(({ verdict }) => verdict === "skipped").length,
    ms,
    kept: stage.kept ? { workspace: stage.workspace, state: stage.stateDir } : null,
    findings,
  };
}
