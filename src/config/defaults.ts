import type { Caller, Environment } from "../contract/call.ts";
import { DEFAULT_DOCKER, type DockerSettings } from "../contract/docker.ts";
import type { RootRequest } from "../contract/root.ts";
import type { IsolationClass } from "../contract/tier.ts";

/** Who the owner of this process is said to be. */
export interface OwnerSettings {
  readonly kind: "User" | "Agent";
  /** Unset: the name of the account. */
  readonly id?: string;
  readonly claims: Caller["claims"];
}

/** Bounds on one session of the process owner. */
export interface SessionSettings {
  readonly usesMax: number;
  readonly lifeMs: number;
  /** How deep tools may call tools; 0: not at all. */
  readonly depthMax: number;
}

/** How the gate reaches what tools may reach. */
export interface EgressSettings {
  /** Name servers, `address:port`; none: as the host resolves names. */
  readonly resolvers: readonly string[];
  /** Files with authorities that the gate and its tools trust beside the system's, PEM, relative to the project. */
  readonly authorities: readonly string[];
}

/** `callgate.yaml`, checked and with defaults filled in. */
export interface Settings {
  readonly environment: Environment;
  /** Globs of tool manifests, relative to the project. */
  readonly catalog: readonly string[];
  /** Folder of `*.cedar`, with policy tests in `tests/`. */
  readonly policies: string;
  readonly sandbox: {
    /** The host's least; a tier, a tool or a policy may only ask for more. */
    readonly isolation: IsolationClass;
    /** What a tool that names no root file system of its own gets. */
    readonly root: RootRequest;
    readonly docker: DockerSettings;
    /** Laid empty in every sandbox. */
    readonly hide: readonly string[];
    /** Readable and never written, in every sandbox. */
    readonly protect: readonly string[];
  };
  readonly egress: EgressSettings;
  readonly owner: OwnerSettings;
  readonly session: SessionSettings;
}

/** What applies with no `callgate.yaml`, and where one says nothing. */
export const DEFAULT_SETTINGS: Settings = {
  environment: { name: "development", protected: false },
  catalog: ["tools/*.yaml"],
  policies: "policies",
  sandbox: { isolation: "process", root: { from: "host" }, docker: DEFAULT_DOCKER, hide: [], protect: [] },
  egress: { resolvers: [], authorities: [] },
  owner: { kind: "User", claims: {} },
  session: { usesMax: 10_000, lifeMs: 12 * 3_600_000, depthMax: 2 },
};
