/** Risk tiers, least first. */
export const TIERS = ["low", "medium", "high", "critical"] as const;
export type Tier = (typeof TIERS)[number];

/** Isolation classes, weakest first. */
export const ISOLATION_CLASSES = ["process", "container", "gvisor", "microvm"] as const;
export type IsolationClass = (typeof ISOLATION_CLASSES)[number];

/** Every control whose state a result names. */
export const CONTROLS = [
  "namespaces",
  "seccomp",
  "no_new_privs",
  "capabilities",
  "read_only_root",
  "user",
  "lsm",
  "memory",
  "processes",
  "cpu",
  "network",
  "environment",
  "mounts",
  "descriptors",
] as const;
export type ControlName = (typeof CONTROLS)[number];

/** The least that holds for a tier. Policy and manifests may only tighten it. */
export interface TierMinimum {
  readonly isolation: IsolationClass;
  /** People who must sign, each different from the caller and from each other. */
  readonly approvals: number;
  /** The caller must say that it means it. */
  readonly confirmation: boolean;
  readonly credentials: boolean;
  /** Only where `environment.protected` is true. */
  readonly protectedEnvironment: boolean;
  /** Writes beyond `/tmp` and `$HOME`, both gone afterwards. */
  readonly workspaceWrites: boolean;
  /** A sandbox built ahead may serve it. */
  readonly pooled: boolean;
  /** The whole payloads are kept, not only their commitments. */
  readonly payloadsKept: boolean;
  /** Controls that must be enforced or nothing runs. */
  readonly controls: readonly ControlName[];
  /** Memory, processes and cpu bounded for the whole tree by a cgroup; an rlimit does not do. */
  readonly treeLimits: boolean;
}

const ALWAYS: readonly ControlName[] = [
  "namespaces",
  "seccomp",
  "no_new_privs",
  "capabilities",
  "read_only_root",
  "user",
  "network",
  "environment",
  "mounts",
  "descriptors",
];

const LOW: TierMinimum = {
  isolation: "process",
  approvals: 0,
  confirmation: false,
  credentials: false,
  protectedEnvironment: false,
  workspaceWrites: false,
  pooled: true,
  payloadsKept: false,
  controls: ALWAYS,
  treeLimits: false,
};

/** The table of `SECURITY.md`, as data. */
export const TIER_MINIMUMS: Readonly<Record<Tier, TierMinimum>> = {
  low: LOW,
  medium: { ...LOW, credentials: true, workspaceWrites: true },
  high: {
    ...LOW,
    credentials: true,
    workspaceWrites: true,
    approvals: 1,
    confirmation: true,
    protectedEnvironment: true,
    treeLimits: true,
  },
  critical: {
    ...LOW,
    isolation: "gvisor",
    credentials: true,
    workspaceWrites: true,
    approvals: 2,
    confirmation: true,
    protectedEnvironment: true,
    pooled: false,
    payloadsKept: true,
    treeLimits: true,
  },
};

/** The stronger of two isolation classes. */
export function strongerIsolation(a: IsolationClass, b: IsolationClass): IsolationClass {
  return ISOLATION_CLASSES.indexOf(a) >= ISOLATION_CLASSES.indexOf(b) ? a : b;
}
