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
import { readMounts, readStatus } from "../../procfs.ts";
import type { HostUser } from "../../user.ts";
import type { Plan } from "./plan.ts";

/** What the driver asked for, to be held against what the kernel says. */
export interface Expected {
  readonly user: HostUser;
  readonly plan: Plan;
  readonly seccomp: AskedSeccomp;
  readonly limits: LimitGroup;
  /** Where the profile names hosts. */
  readonly network: JoinedNetwork | undefined;
}

/** A waiting sandbox: pids as the host counts them, and what the launcher said. */
export interface Waiting {
  readonly init: number;
  readonly launcher: number;
  readonly dialogue: Dialogue;
}

/** Reads every control from `/proc`, at the moment it is called. Nothing here trusts what was asked for. */
export function readEvidence(waiting: Waiting, expected: Expected): Controls {
  const { launcher, init, dialogue } = waiting;
  const status = readStatus(launcher);
  const mounts = readMounts(launcher);
  return {
    namespaces: namespaces(launcher),
    seccomp: seccomp(status, dialogue.canaryErrno, expected.seccomp),
    no_new_privs: verified(status.get("NoNewPrivs") === "1", `NoNewPrivs ${status.get("NoNewPrivs")}`),
    capabilities: capabilities(status),
    read_only_root: readOnlyRoot(mounts),
    user: user(launcher, status, expected.user),
    lsm: landlock(dialogue.landlock),
    ...expected.limits.evidence(launcher),
    network: expected.network === undefined ? network(launcher) : guardedNetwork(launcher, expected.network),
    environment: environment(launcher),
    mounts: mountsAsPlanned(mounts, expected.plan),
    descriptors: descriptors([launcher, init]),
  };
}
