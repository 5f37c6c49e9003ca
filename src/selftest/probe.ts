import type { Limits } from "../contract/profile.ts";
import type { IsolationClass } from "../contract/tier.ts";
import type { Program } from "./program.ts";
import type { Scene } from "./scene.ts";

/** Where a probe attacks, in the order in which they are told, and what it means when one of them gets through. */
export const AREAS = {
  files: "a tool reads or changes files that its profile does not open",
  links: "a tool is led, or leads the gate, past its profile by a link, a rename or a race",
  processes: "a tool reaches processes of the host, or outlives its call",
  kernel: "a tool gets at parts of the kernel that are not needed to run programs and often had holes",
  network: "a tool reaches somebody without the gate",
  credentials: "a tool gets at a secret of whoever runs the gate",
  resources: "a tool uses more of the host than its limits say",
  terminal: "a tool's output acts on the terminal of whoever reads it, or types into it",
} as const;
export type Area = keyof typeof AREAS;

/**
 * How the control is run: with what the host gives to whoever runs the gate, and no more.
 * - `plain`: as the gate's own user.
 * - `user`: as the host user a sandbox has; the same as `plain` where the gate is not root.
 * - `mapped`: in mount and host-name namespaces of its own, for what would change the host's; an ordinary user is root there.
 * - `network`: in a network namespace of its own that has the address in question, and somebody who answers.
 */
export type Outside = "plain" | "user" | "mapped" | "network";

/** What stands around one run of a probe, and what the host sees of it. Made anew for every run. */
export interface Stage {
  /** Added to the program's arguments. */
  readonly args?: readonly string[];
  /** A host path that whoever starts the gate left open for it, and so for its children. */
  readonly inherits?: string;
  /** Host paths the profile hides beyond the usual. */
  readonly hide?: readonly string[];
  /** What the host does after the profile was made and before the sandbox is built. */
  readonly beforeOpen?: () => void;
  /** What the host does while the sandbox waits, before it is inspected. */
  readonly whileWaiting?: () => void | Promise<void>;
  /** What the host does while the program runs; told when that has ended. */
  readonly meanwhile?: (ended: AbortSignal) => Promise<void>;
  /** After the run: what the host sees that should not be so; undefined where there is nothing. */
  readonly effect?: () => string | undefined | Promise<string | undefined>;
  readonly close?: () => void | Promise<void>;
}

/** One attempt to get past a profile. */
export interface Probe {
  /** `area.name`; names it in results, documentation and tests. */
  readonly id: `${Area}.${string}`;
  /** What is tried, in words that finish "a tool …". */
  readonly title: string;
  readonly program: Program;
  /** What the profile opens of the workspace (unset: `write`), or of the scene, by path. */
  readonly grant?: "none" | "read" | "write" | ((scene: Scene) => { read?: string[]; write?: string[] });
  /** Only looks, with the profile of all that name the same group: one sandbox may serve them one after another. */
  readonly together?: string;
  readonly limits?: Partial<Limits>;
  /** The limit in question needs a cgroup: without one the call is refused, which holds. */
  readonly treeLimits?: true;
  readonly outside?: Outside;
  readonly stage?: (scene: Scene) => Stage | Promise<Stage>;
  /** Being ended by a limit, or by the kernel, is what should happen to the program. */
  readonly mayDie?: true;
  /** Being refused before anything runs is what should happen. */
  readonly mayBeRefused?: true;
  /** More processor time than this, as the host counts it, is past the limit. */
  readonly cpuMsMax?: number;
  /** Only what a person would be shown is judged: characters that act on a terminal got through. */
  readonly judgesShown?: true;
  /**
   * Why, where the sandbox has a kernel of its own (`OWN_KERNEL`), a call that succeeded there says nothing yet:
   * then only what is seen on the host, or a secret of the host, counts.
   */
  readonly ownKernel?: string;
}

/** Isolation classes whose programs talk to a kernel that is not the host's. */
export const OWN_KERNEL: ReadonlySet<IsolationClass> = new Set(["gvisor", "microvm"]);

/** Something an ordinary program does, which has to work inside. */
export interface Usability {
  readonly id: `usability.${string}`;
  readonly title: string;
  readonly program: Program;
  readonly stdin?: Uint8Array;
  /** Not every host has it: it is tried inside only where it works outside. */
  readonly ifInstalled?: true;
  /** Undefined where it worked; otherwise what was wrong. */
  readonly complaint: (seen: Seen) => string | undefined;
}

/** How a run ended, inside or outside. */
export type Ending =
  | { readonly kind: "exited"; readonly exitCode: number; readonly signal: string | null }
  | { readonly kind: "killed"; readonly by: string }
  /** Nothing ran, because the gate would not have it. */
  | { readonly kind: "refused"; readonly why: string }
  /** Nothing ran, though it should have. */
  | { readonly kind: "unstarted"; readonly why: string };

export interface Seen {
  readonly ending: Ending;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly wallMs: number;
  /** As the host counts it; unset or null where nothing does. */
  readonly cpuMs?: number | null;
}
