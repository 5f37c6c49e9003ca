import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Spend } from "../contract/capability.ts";
import { type CallId, digestOf, newCallId, parseToolName } from "../contract/ids.ts";
import type { DeniedRecord, IntentRecord, OutcomeRecord, RecordDraft } from "../contract/record.ts";

/** Makings for tests of the record. */

export const TOOL: ReturnType<typeof parseToolName> = parseToolName("repo.search");

const ASKED = {
  tool: { name: TOOL, digest: digestOf("tool"), tier: "low" },
  caller: { kind: "User", id: "ada", proof: "process-owner", claims: {} },
  context: { environment: { name: "development", protected: false }, depth: 0 },
} as const;

export function intent(call: CallId = newCallId()): IntentRecord {
  const decision = {
    effect: "permit",
    policies: ["all"],
    reasons: ["everything"],
    policyDigest: digestOf("p"),
  } as const;
  return {
    kind: "intent",
    call,
    ...ASKED,
    decision,
    requestDigest: digestOf("request"),
    capability: "session",
  };
}

export function denied(call: CallId = newCallId()): DeniedRecord {
  const decision = { effect: "forbid", policies: [], reasons: ["no policy permits"] } as const;
  return {
    kind: "denied",
    call,
    ...ASKED,
    decision,
    code: "ERR_FORBIDDEN",
    message: "policy does not permit this",
  };
}

export function outcome(call: CallId): OutcomeRecord {
  return {
    kind: "outcome",
    call,
    tool: TOOL,
    outcome: "exited",
    exitCode: 0,
    signal: null,
    killedBy: null,
    error: null,
    startedMs: 1_790_000_000_000.25,
    endedMs: 1_790_000_000_012.5,
    usage: { wallMs: 12.25, cpuMs: 4.125, memoryBytesMax: 9_437_184 },
    denials: [],
  };
}

export function spend(id: string, usesMax: number, expiresMs: number = Date.now() + 60_000): Spend {
  return { id, usesMax, expiresMs };
}

/** Any small entry. */
export function note(summary: string): RecordDraft {
  return { record: { kind: "policy", digest: digestOf(summary), summary } };
}

/** A state folder, not yet there, removed after the test. */
export function stateDir(t: TestContext): string {
  const base = mkdtempSync(join(tmpdir(), "callgate-audit-"));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  return join(base, "state");
}

/** A folder of the outside vectors, which are beside the repository and not in it. */
export function vectors(folder: string): string {
  const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  return join(repository, "..", "shared", "vectors", folder);
}
