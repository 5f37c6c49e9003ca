import type { Capability } from "../contract/capability.ts";
import { GateError } from "../contract/errors.ts";
import type { Control, Controls, Execution } from "../contract/execution.ts";
import type { EgressFact } from "../contract/network.ts";
import type { Profile } from "../contract/profile.ts";
import type { Root } from "../contract/root.ts";
import { CONTROLS, type ControlName, type IsolationClass } from "../contract/tier.ts";

/** What a driver can express. A profile that asks for more is refused by name, before anything is built. */
export interface DriverSupport {
  readonly isolation: readonly IsolationClass[];
  readonly network: readonly Profile["network"]["mode"][];
  /** `files.hide` and `files.protect` inside granted trees. */
  readonly maskedPaths: boolean;
  /** Root file systems beside the host's. Unset: none. */
  readonly roots?: readonly Root["from"][];
  /** Evidence is read before the tool starts, not right after. */
  readonly airlock: boolean;
  /** `files.staged`: it binds copies where it is told to. Unset: it cannot. */
  readonly stagedWrites?: boolean;
  /** `explainSyscalls`. Unset: it cannot. */
  readonly explainsSyscalls?: boolean;
  /** `observeFiles`. Unset: it cannot. */
  readonly observesFiles?: boolean;
  /** On what the evidence of a control rests, where the control is enforced. */
  readonly evidence: Readonly<Record<ControlName, Control["basis"] | "none">>;
}

/** Evidence read from the host's kernel, but for what is said. */
export function verifiedBut(others: Partial<DriverSupport["evidence"]>): DriverSupport["evidence"] {
  const all = Object.fromEntries(CONTROLS.map((name) => [name, "verified"]));
  return { ...(all as DriverSupport["evidence"]), ...others };
}

/** Whether a driver can run here, and if not, what would make it. */
export interface Diagnosis {
  readonly usable: boolean;
  /** Version and path when usable; what is missing otherwise. */
  readonly detail: string;
  /** A command or a sentence; present when not usable. */
  readonly remedy?: string;
}

/** A network namespace that was made for this one sandbox, whose only ways out lead to the gate. */
export interface JoinedNetwork {
  /**
   * Paths of its user and network namespaces (setns(2)), valid for as long as it is not closed. Both are the sandbox's
   * user's: he may join the first and is then entitled to the second. What runs in the sandbox is in a user namespace
   * of its own below, and has no right here.
   */
  readonly userNamespace: string;
  readonly netNamespace: string;
  /** What the network is called, `net:[INODE]` (namespaces(7)), by a process that was in it when it was made. */
  readonly identity: string;
  /** Address of the resolver inside. */
  readonly resolver: string;
  /** `address:port` of every listener that the gate has in there; evidence finds these and no others. */
  readonly listeners: readonly string[];
  /** Variables of the tool beside its profile's: where authorities are found, what stands for credentials. */
  readonly environment: Readonly<Record<string, string>>;
  /** A file of ours with the authorities that tools trust, PEM, laid over the system's own; unset: those as they are. */
  readonly authorities?: string;
  /** The same as a key store of Java's. */
  readonly javaAuthorities?: string;
}

export interface OpenOptions {
  /** Needed where the profile's network is by name, and only there. */
  readonly network?: JoinedNetwork;
  /** Where the private copy of a granted path lies. Needed where the profile's writes are staged, and only there. */
  readonly copyOf?: (path: string) => string;
}

/** @throws GateError `ERR_INTERNAL` where a profile that names hosts comes without a network, or another one with it. */
export function joinedNetwork(
  { network: { mode } }: Profile,
  { network }: OpenOptions,
): JoinedNetwork | undefined {
  if ((mode === "names") === (network !== undefined)) return network;
  throw new GateError("ERR_INTERNAL", "a network is needed where names are allowed, and only there");
}

export interface Driver extends AsyncDisposable {
  readonly name: string;
  readonly supports: DriverSupport;
  /** Never throws. */
  probe(): Promise<Diagnosis>;
  /**
   * Builds a sandbox, fully confined, with a launcher waiting in it.
   * @throws GateError `ERR_SANDBOX_START`, `ERR_CONTROL_UNAVAILABLE` when it cannot be built as asked.
   */
  open(profile: Profile, options?: OpenOptions): Promise<Sandbox>;
  /** Prepares that many starts, for calls of which nothing is known yet; `keeping` makes up for each that is used. */
  warm?(ahead: number, keeping: boolean): void;
}

/** The argument vector and what is fed to standard input. */
export interface Command {
  readonly argv: readonly string[];
  /** Nothing: standard input is empty. */
  readonly stdin?: Uint8Array | NodeJS.ReadableStream;
}

export interface ReleaseOptions {
  /** Aborting kills the whole tree; `killedBy` reads `abort`. */
  readonly signal?: AbortSignal;
  /** Called with output as it arrives, within the output limit. */
  readonly onOutput?: (stream: "stdout" | "stderr", chunk: Uint8Array) => void;
  /** Called with what happens at the edge of the tool's network. */
  readonly onEgress?: (fact: EgressFact) => void;
}

/** A built sandbox. Used once: inspected, let go, thrown away. Closing it kills whatever is in it. */
export interface Sandbox extends AsyncDisposable {
  readonly driver: string;
  /** False once anything of it has ended. */
  readonly alive: boolean;
  /** The most it has used so far; null where nothing counts it. */
  memoryBytes(): number | null;
  /** Reads, now, what the kernel says of the waiting sandbox. Call it last thing before `release`. */
  inspect(): Promise<Controls>;
  /** Lets the tool in and waits for its end. The capability is the proof that it may. */
  release(capability: Capability, command: Command, options?: ReleaseOptions): Promise<Execution>;
}
