import { join } from "node:path";
import type { DockerSettings } from "../../../contract/docker.ts";
import type { IsolationClass } from "../../../contract/tier.ts";
import { POOL_REPORTS } from "../../../open-gate.ts";
import { readHostFacts } from "../../../sandbox/host-facts.ts";
import { sandboxUser } from "../../../sandbox/user.ts";
import { diagnose, PROGRAMS } from "./diagnose.ts";
import type { Report } from "./finding.ts";
import { examinePools } from "./pools.ts";
import { examineState } from "./state.ts";
import { surveyDrivers } from "./survey.ts";

/** Of a project, what decides which drivers are asked for what. */
export interface Asked {
  readonly isolation: IsolationClass;
  readonly docker: DockerSettings;
}

/** Looks at everything a call needs, once; changes nothing that stays. */
export async function examine(stateDir: string, root: string, asked: Asked): Promise<Report> {
  return diagnose({
    facts: readHostFacts(Object.keys(PROGRAMS)),
    drivers: await surveyDrivers(root, asked.docker),
    state: [...(await examineState(stateDir, root)), ...examinePools(join(stateDir, POOL_REPORTS))],
    isolation: asked.isolation,
    root,
    user: sandboxUser(root),
  });
}
