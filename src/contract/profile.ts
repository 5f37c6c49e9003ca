import type { Network } from "./network.ts";
import type { Root } from "./root.ts";
import type { IsolationClass } from "./tier.ts";

/** Bounds on one call. Every field is enforced; what a host cannot enforce is named in the result. */
export interface Limits {
  readonly wallMs: number;
  /** Processor time of the whole tree. */
  readonly cpuMs: number;
  /** Thousandths of a processor that the whole tree may use at a time. */
  readonly cpusMilli: number;
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

/** The kernel counts no less than a millisecond in a tenth of a second. */
export const CPUS_MILLI_MIN = 10;
export const CPUS_MILLI_MAX = 1_024_000;

/** What a manifest that says nothing gets. */
export const DEFAULT_LIMITS: Limits = {
  wallMs: 30_000,
  cpuMs: 60_000,
  // Twice `wallMs` is `cpuMs`: what uses two processors from start to end meets both.
  cpusMilli: 2_000,
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
  readonly root: Root;
  readonly files: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    /** Laid over what `read` and `write` open: an empty file or folder stands there instead. */
    readonly hide: readonly string[];
    /** Inside what `write` opens, readable and never written. */
    readonly protect: readonly string[];
    /** What `write` opens is a private copy, applied after the tool's success. Then `protect` is refused, not mounted. */
    readonly staged?: true;
  };
  readonly network: Network;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly limits: Limits;
  /** Memory, processes and cpu are bounded for the whole tree by a cgroup, or nothing runs. */
  readonly treeLimits: boolean;
  /** Refused system calls are told with their reasons. Nothing is opened by it: the same calls are refused. */
  readonly explainSyscalls?: true;
  /** The paths that system calls name are noted. Nothing is opened by it; not together with `explainSyscalls`. */
  readonly observeFiles?: true;
}
