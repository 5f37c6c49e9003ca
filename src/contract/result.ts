import type { Changes } from "./changes.ts";
import type { Controls, Denial, KilledBy, Usage } from "./execution.ts";
import type { Fragment } from "./fragment.ts";
import type { CallId, Digest } from "./ids.ts";
import type { Receipt } from "./record.ts";
import type { IsolationClass } from "./tier.ts";

export type Outcome = "exited" | "killed" | "unstarted" | "forbidden" | "pending" | "invalid";

/** What a caller gets back: the JSON of `--json`, of HTTP and of the library. */
export interface CallResult {
  readonly call: CallId;
  readonly tool: string;
  /** The tool's digest; null when there is no such tool. */
  readonly digest: Digest | null;
  readonly outcome: Outcome;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly killedBy: KilledBy | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of `stdout` and `stderr` both. */
  readonly encoding: "utf8" | "base64";
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  readonly truncated: { readonly stdout: boolean; readonly stderr: boolean };
  /** `stdout` parsed, where the tool says `output: json`. */
  readonly structured?: unknown;
  readonly decision: {
    readonly effect: "permit" | "ask" | "forbid";
    readonly policies: readonly string[];
    readonly reasons: readonly string[];
    readonly remedies?: readonly string[];
  };
  readonly isolation: IsolationClass | null;
  readonly driver: string | null;
  readonly controls: Controls | null;
  readonly denials: readonly Denial[];
  readonly usage: Usage | null;
  /** Of a tool with staged writes, and what became of them; null for every other. */
  readonly changes: Changes | null;
  /** Of a learning run (`--observe`): what it used, as rules. */
  readonly learned?: Fragment;
  readonly approval: {
    readonly id: string;
    readonly needed: number;
    readonly given: number;
    readonly expiresAt: string;
  } | null;
  readonly receipt: Receipt | null;
  readonly error: { readonly code: string; readonly message: string; readonly remedy?: string } | null;
}
