import type { IsolationClass } from "./tier.ts";

/** Bounds on one call. Every field is enforced; what a host cannot enforce is named in the result. */
export interface Limits {
  readonly wallMs: number;
  /** Processor time of the whole tree. */
  readonly cpuMs: number;
  readonly memoryBytes: number;
  /** Processes and threads of the whole tree. */
  readonly processes: number;
  readonly openFiles: number;
  /** The largest single file a tool may write. */
  readonly fileSizeBytes: number;
  /** Standard output and standard error together. */
  readonly outputBytes: number;
  /** The JSON input, and separately what is fed to standard input. */
  readonly inputBytes: number;
  /** Each of the scratch file systems, `/tmp`, `/dev/shm` and `$HOME`. */
  readonly scratchBytes: number;
}

const MIB = 1024 * 1024;

/** What a manifest that says nothing gets. */
export const DEFAULT_LIMITS: Limits = {
  wallMs: 30_000,
  cpuMs: 60_000,
  memoryBytes: 512 * MIB,
  processes: 64,
  openFiles: 1024,
  fileSizeBytes: 256 * MIB,
  outputBytes: MIB,
  inputBytes: MIB,
  scratchBytes: 64 * MIB,
};

/** What a tool may see and do: deny by default, the same for every driver, absolute host paths. */
export interface Profile {
  readonly isolation: IsolationClass;
  readonly files: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    /** Laid over what `read` and `write` open: an empty file or folder stands there instead. */
    readonly hide: readonly string[];
    /** Inside what `write` opens, readable and never written. */
    readonly protect: readonly string[];
  };
  readonly network: { readonly mode: "none" };
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly limits: Limits;
  /** Memory, processes and cpu are bounded for the whole tree by a cgroup, or nothing runs. */
  readonly treeLimits: boolean;
}
