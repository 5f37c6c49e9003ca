import type { Controls } from "../../../contract/execution.ts";
import type { Dialogue } from "../../dialogue.ts";
import type { JoinedNetwork } from "../../driver.ts";
import { mountsAsPlanned } from "../../evidence/mounts.ts";
import { guardedNetwork } from "../../evidence/network.ts";
import {
  type AskedSeccomp,
  capabilities,
  descriptors,
  environment,
  landlock,
  namespaces,
  network,
  readOnlyRoot,
  seccomp,
  user,
  verified,
} from "../../evidence/process.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { labelControl } from "../../lsm.ts";
import { readChildren, readMounts, readStatus } from "../../procfs.ts";
import type { BuildIdentity } from "./builder.ts";
import type { Plan } from "./plan.ts";

/** What the driver asked for, to be held against what the kernel says. */
export interface Expected {
  readonly identity: BuildIdentity;
  readonly plan: Plan;
  readonly label: string | undefined;
  readonly seccomp: AskedSeccomp;
  readonly limits: LimitGroup;
  /** Where the profile names hosts. */
  readonly network: JoinedNetwork | undefined;
}

/** What a container's first program holds beside nothing: the runtime would otherwise look a home up and add it. */
const VARIABLES = ["HOME"];

/** Reads every control from `/proc`, at the moment it is called. Nothing here trusts what was asked for. */
export function readEvidence(runtime: number, dialogue: Dialogue, expected: Expected): Controls {
  const [init = 0] = readChildren(runtime);
  const [launcher = 0] = readChildren(init);
  const status = readStatus(launcher);
  const mounts = readMounts(launcher);
  const { identity, label } = expected;
  return {
    namespaces: namespaces(launcher),
    seccomp: seccomp(status, dialogue.canaryErrno, expected.seccomp),
    no_new_privs: verified(status.get("NoNewPrivs") === "1", `NoNewPrivs ${status.get("NoNewPrivs")}`),
    capabilities: capabilities(status),
    read_only_root: readOnlyRoot(mounts),
    user: user(launcher, status, identity.user, identity.inside.uid),
    lsm: label === undefined ? landlock(dialogue.landlock) : labelControl(launcher, label),
    ...expected.limits.evidence(launcher),
    network: expected.network === undefined ? network(launcher) : guardedNetwork(launcher, expected.network),
    environment: environment(launcher, VARIABLES),
    mounts: mountsAsPlanned(mounts, expected.plan),
    descriptors: descriptors([launcher, init]),
  };
}
