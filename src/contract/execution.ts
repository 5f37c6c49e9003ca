import type { GateErrorCode } from "./errors.ts";
import type { ControlName } from "./tier.ts";

/** What is known of one control at the moment the tool was let in. */
export interface Control {
  readonly state: "enforced" | "unavailable" | "off";
  /** `verified`: read from the kernel. `probed`: tried inside. `reported`: another system's word. */
  readonly basis: "verified" | "probed" | "reported";
  /** At most 300 characters. */
  readonly evidence: string;
}

export type Controls = Readonly<Record<ControlName, Control>>;

/** Something a tool tried and did not get. */
export interface Denial {
  readonly kind: "egress" | "file" | "syscall" | "limit";
  readonly what: string;
  readonly why: string;
  /** What would have let it through, where a rule can. */
  readonly remedy?: string;
}

/** `look`: its name or metadata alone, which is how most programs find out that a file is not there. */
export type FileAccess = "look" | "read" | "write" | "execute";

/** A path as system calls named it: absolute, its links not followed, whatever became of the call. */
export interface ObservedFile {
  readonly path: string;
  readonly access: FileAccess;
  readonly times: number;
  /** Its bytes are not UTF-8; those that are not stand as `\xNN`. */
  readonly malformed?: true;
}

export interface ObservedFiles {
  readonly files: readonly ObservedFile[];
  /** Calls beyond the bounds, whose paths were not kept. */
  readonly further: number;
  /** Calls whose path could not be read. */
  readonly unread: number;
  /** Whether it saw all: false where the supervisor ended before the tool. */
  readonly complete: boolean;
}

export type KilledBy = "wall" | "cpu" | "memory" | "processes" | "output" | "input" | "abort";

export interface Usage {
  readonly wallMs: number;
  /** Null where no cgroup counts it. */
  readonly cpuMs: number | null;
  readonly memoryBytesMax: number | null;
}

export interface Output {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  /** Bytes written, of which `stdout` and `stderr` hold the first. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

interface Ran extends Output {
  readonly usage: Usage;
  readonly denials: readonly Denial[];
  /** Where the profile asks for it. */
  readonly observed?: ObservedFiles;
}

export interface Exited extends Ran {
  readonly outcome: "exited";
  readonly exitCode: number;
  readonly signal: NodeJS.Signals | null;
}

export interface Killed extends Ran {
  readonly outcome: "killed";
  readonly killedBy: KilledBy;
}

/** Nothing of the tool ran. */
export interface Unstarted {
  readonly outcome: "unstarted";
  readonly code: GateErrorCode;
  readonly message: string;
  readonly remedy?: string;
}

export type Execution = Exited | Killed | Unstarted;
