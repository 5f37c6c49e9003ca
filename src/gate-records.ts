import { ExecInput } from "./catalog/exec-input.ts";
import type { Caller } from "./contract/call.ts";
import type { Changes } from "./contract/changes.ts";
import type { Permit } from "./contract/decision.ts";
import type { GateError } from "./contract/errors.ts";
import type { CallId, Digest } from "./contract/ids.ts";
import type { EgressFact } from "./contract/network.ts";
import type { OpenedRecord, RecordDraft } from "./contract/record.ts";
import type { Asked, PreparedCall } from "./gate.ts";
import type { Answered } from "./gate-result.ts";

/** How much of a tool name that does not parse is kept. */
const NAME_LENGTH_MAX = 128;

export function intentDraft(
  { call, tool }: PreparedCall,
  permit: Permit,
  requestDigest: Digest,
  capability: string,
): RecordDraft {
  return {
    record: {
      kind: "intent",
      call: call.id,
      tool: { name: tool.name, digest: tool.digest, tier: tool.tier },
      caller: call.caller,
      context: call.context,
      decision: {
        effect: permit.effect,
        policies: permit.policies,
        reasons: permit.reasons,
        policyDigest: permit.policyDigest,
      },
      requestDigest,
      capability,
    },
    payloads: { input: Buffer.from(JSON.stringify(call.input)) },
  };
}

export function openedDraft(call: CallId, opened: Omit<OpenedRecord, "kind" | "call">): RecordDraft {
  const { driver, isolation, profileDigest, controls, waitedMs } = opened;
  return { record: { kind: "opened", call, driver, isolation, profileDigest, controls, waitedMs } };
}

export function egressDraft(call: CallId, { remedy: _, ...fact }: EgressFact): RecordDraft {
  // Entries hold whole numbers only.
  const [startedMs, durationMs] = [Math.round(fact.startedMs), Math.round(fact.durationMs)];
  return { record: { kind: "egress", call, fact: { ...fact, startedMs, durationMs } } };
}

export function outcomeDraft(
  { call, tool }: PreparedCall,
  { execution, startedMs, changes }: Answered,
): RecordDraft {
  const ran = execution.outcome === "unstarted" ? undefined : execution;
  return {
    record: {
      kind: "outcome",
      call: call.id,
      tool: tool.name,
      outcome: execution.outcome,
      exitCode: execution.outcome === "exited" ? execution.exitCode : null,
      signal: execution.outcome === "exited" ? execution.signal : null,
      killedBy: execution.outcome === "killed" ? execution.killedBy : null,
      error: execution.outcome === "unstarted" ? { code: execution.code, message: execution.message } : null,
      startedMs: ran === undefined ? null : startedMs,
      endedMs: Date.now(),
      usage: ran?.usage ?? null,
      denials: ran?.denials ?? [],
      ...(changes === undefined ? {} : { changes }),
    },
    ...(ran === undefined
      ? {}
      : { payloads: { stdout: ran.stdout, stderr: ran.stderr, ...listOf(changes) } }),
  };
}

/** The whole list, which the record itself may hold only the first of. */
function listOf(changes: Changes | undefined): Readonly<Record<string, Uint8Array>> {
  return changes === undefined ? {} : { changes: Buffer.from(JSON.stringify(changes.paths)) };
}

/** A refusal tells as much as the call came to: an unknown tool has a name and no digest. */
export function deniedDraft(asked: Asked, error: GateError, caller: Caller): RecordDraft {
  const { prepared, decision, request } = asked;
  const given = ExecInput.is(request.input) ? request.input.value : request.input;
  const input = typeof given === "string" ? given : JSON.stringify(given);
  return {
    record: {
      kind: "denied",
      call: asked.id,
      tool:
        prepared === undefined
          ? { name: request.tool.slice(0, NAME_LENGTH_MAX) }
          : { name: prepared.tool.name, digest: prepared.tool.digest, tier: prepared.tool.tier },
      caller,
      context: prepared?.call.context ?? asked.context,
      decision: {
        effect: decision?.effect ?? "forbid",
        policies: decision?.policies ?? [],
        reasons: decision?.reasons ?? [error.message],
        ...(decision === undefined ? {} : { policyDigest: decision.policyDigest }),
      },
      code: error.code,
      message: error.message,
    },
    payloads: { input: Buffer.from(input) },
  };
}
