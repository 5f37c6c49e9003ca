import { isUtf8 } from "node:buffer";
import type { AuditLog } from "./audit/log.ts";
import type { Changes } from "./contract/changes.ts";
import type { Permit } from "./contract/decision.ts";
import type { GateError } from "./contract/errors.ts";
import type { Controls, Execution } from "./contract/execution.ts";
import type { Fragment } from "./contract/fragment.ts";
import type { Digest } from "./contract/ids.ts";
import type { Receipt } from "./contract/record.ts";
import type { CallResult, Outcome } from "./contract/result.ts";
import type { IsolationClass } from "./contract/tier.ts";
import type { Asked, CheckedOutput, PreparedCall } from "./gate.ts";
import { changesError } from "./staged-writes.ts";

/** A call that was let in, and how it ended. */
export interface Answered {
  readonly driver: string;
  readonly isolation: IsolationClass;
  readonly profileDigest: Digest;
  readonly controls: Controls;
  readonly startedMs: number;
  readonly execution: Execution;
  /** Of a tool with staged writes. */
  readonly changes?: Changes | undefined;
  /** Of a learning run. */
  readonly learned?: Fragment | undefined;
}

const NOTHING = {
  exitCode: null,
  signal: null,
  killedBy: null,
  stdout: "",
  stderr: "",
  encoding: "utf8",
  stdoutBytes: 0,
  stderrBytes: 0,
  truncated: { stdout: false, stderr: false },
  isolation: null,
  driver: null,
  controls: null,
  denials: [],
  usage: null,
  changes: null,
  approval: null,
} as const;

export function resultOf(
  { call, tool }: PreparedCall,
  permit: Permit,
  answered: Answered,
  extra: {
    readonly masks: Pick<AuditLog, "mask" | "maskJson">;
    readonly receipt: Receipt | null;
    readonly output: CheckedOutput;
  },
): CallResult {
  const { execution, controls, driver, isolation, changes, learned } = answered;
  const { structured } = extra.output;
  const error = extra.output.error ?? (changes === undefined ? undefined : changesError(changes));
  const { masks } = extra;
  return {
    ...NOTHING,
    call: call.id,
    tool: tool.name,
    digest: tool.digest,
    decision: { effect: permit.effect, policies: permit.policies, reasons: permit.reasons },
    isolation,
    driver,
    controls,
    outcome: execution.outcome,
    ...(execution.outcome === "unstarted" ? {} : outputOf(execution, masks)),
    ...(execution.outcome === "exited" ? { exitCode: execution.exitCode, signal: execution.signal } : {}),
    ...(execution.outcome === "killed" ? { killedBy: execution.killedBy } : {}),
    ...(structured === undefined ? {} : { structured: masks.maskJson(structured) }),
    changes: changes ?? null,
    ...(learned === undefined ? {} : { learned: masks.maskJson(learned) }),
    receipt: extra.receipt,
    error:
      execution.outcome === "unstarted" ? errorOf(execution) : error === undefined ? null : errorOf(error),
  };
}

/** A call that was not let in. */
export function refusalResult(asked: Asked, error: GateError, receipt: Receipt | null): CallResult {
  const { prepared, decision, request } = asked;
  return {
    ...NOTHING,
    call: asked.id,
    tool: prepared?.tool.name ?? request.tool,
    digest: prepared?.tool.digest ?? null,
    outcome: outcomeOf(error),
    decision: {
      effect: decision?.effect ?? "forbid",
      policies: decision?.policies ?? [],
      reasons: decision?.reasons ?? [error.message],
      ...(decision?.effect === "forbid" ? { remedies: decision.remedies } : {}),
    },
    receipt,
    error: errorOf(error),
  };
}

function outcomeOf(error: GateError): Outcome {
  if (error.exitCode === 69) return "unstarted";
  return error.exitCode === 77 ? "forbidden" : "invalid";
}

function errorOf({
  code,
  message,
  remedy,
}: Pick<GateError, "code" | "message"> & { readonly remedy?: string | undefined }): NonNullable<
  CallResult["error"]
> {
  return { code, message, ...(remedy === undefined ? {} : { remedy }) };
}

function outputOf(
  execution: Exclude<Execution, { outcome: "unstarted" }>,
  masks: Pick<AuditLog, "mask" | "maskJson">,
): Pick<
  CallResult,
  "stdout" | "stderr" | "encoding" | "stdoutBytes" | "stderrBytes" | "truncated" | "denials" | "usage"
> {
  const [stdout, stderr] = [
    Buffer.from(masks.mask(execution.stdout)),
    Buffer.from(masks.mask(execution.stderr)),
  ];
  // One encoding for both: a caller that decodes one knows how to decode the other.
  const encoding = isUtf8(stdout) && isUtf8(stderr) ? "utf8" : "base64";
  return {
    stdout: stdout.toString(encoding),
    stderr: stderr.toString(encoding),
    encoding,
    stdoutBytes: execution.stdoutBytes,
    stderrBytes: execution.stderrBytes,
    truncated: {
      stdout: execution.stdoutBytes > execution.stdout.length,
      stderr: execution.stderrBytes > execution.stderr.length,
    },
    denials: masks.maskJson(execution.denials),
    usage: execution.usage,
  };
}
