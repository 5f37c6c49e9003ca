import type { AuditLog } from "./audit/log.ts";
import { admit, type SessionTerms } from "./capability/session.ts";
import type { ExecInput } from "./catalog/exec-input.ts";
import type { CallContext, ToolCall } from "./contract/call.ts";
import type { Capability } from "./contract/capability.ts";
import type { Decision, Permit } from "./contract/decision.ts";
import { GateError } from "./contract/errors.ts";
import type { Execution } from "./contract/execution.ts";
import type { Fragment } from "./contract/fragment.ts";
import { type CallId, type Digest, newCallId } from "./contract/ids.ts";
import type { JsonObject } from "./contract/json.ts";
import type { EgressFact } from "./contract/network.ts";
import type { Profile } from "./contract/profile.ts";
import type { CallResult } from "./contract/result.ts";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { Tool } from "./contract/tool.ts";
import { EgressJournal } from "./egress-journal.ts";
import { deniedDraft, intentDraft, openedDraft, outcomeDraft } from "./gate-records.ts";
import { type Answered, refusalResult, resultOf } from "./gate-result.ts";
import { permitted, profileDigest, requestDigest, requireControls, settled } from "./gate-steps.ts";
import { maskedOutput } from "./masked-output.ts";
import type { Command, Driver, ReleaseOptions, Sandbox } from "./sandbox/driver.ts";
import { selectDriver } from "./sandbox/drivers/registry.ts";
import type { PoolStats, Taken } from "./sandbox/pool.ts";
import type { StagedWrites } from "./sandbox/staged/staged.ts";
import { onCopies } from "./staged-writes.ts";

/** One request as a surface hands it over. */
export interface CallRequest {
  readonly tool: string;
  /** JSON text, or the object it stands for. */
  readonly input: string | JsonObject | ExecInput;
}

export interface CallOptions extends ReleaseOptions {
  /** Passed on to the tool's standard input, within the input limit. */
  readonly stdin?: NodeJS.ReadableStream;
}

/** A call after parsing: what is judged and, if it may, what runs. */
export interface PreparedCall {
  readonly tool: Tool;
  readonly call: ToolCall;
  readonly command: Command;
  /** Variables of an `exec`, beside its input: policy sees their names. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its refused system calls are told: in the profile, and nothing that policy or the tool could see. */
  readonly explainSyscalls?: boolean;
}

/** As far as a call came: what a refusal can tell of it. */
export interface Asked {
  readonly id: CallId;
  readonly request: CallRequest;
  readonly context: CallContext;
  prepared?: PreparedCall;
  decision?: Decision;
}

/** What a tool with `output: json` wrote, parsed, or why it does not fit. */
export interface CheckedOutput {
  readonly structured?: unknown;
  readonly error?: GateError;
}

/** Usage, input, environment and permission: the caller's to mend. Others are faults and are thrown. */
const REFUSAL_EXITS: ReadonlySet<number> = new Set([64, 65, 69, 77]);

/** The stages a gate joins. `openGate` makes them from a project's configuration. */
export interface GateParts {
  readonly log: AuditLog;
  readonly session: SessionTerms;
  readonly context: CallContext;
  readonly drivers: readonly Driver[];
  /** Parses the request against the catalogue and the tool's schema. @throws GateError of exit 64 or 65. */
  readonly prepare: (id: CallId, request: CallRequest) => Promise<PreparedCall>;
  readonly decide: (prepared: PreparedCall) => Promise<Decision>;
  /** @throws GateError where a granted path is missing or leaves the workspace. */
  readonly profileOf: (prepared: PreparedCall, decision: Permit) => Profile;
  /** Private copies of what a profile with staged writes opens for writing; undefined where none are staged. */
  readonly stage: (id: CallId, profile: Profile) => Promise<StagedWrites | undefined>;
  /** One that was built ahead for this very caller, tool and profile, where its tier allows that, or a new one. */
  readonly openSandbox: (
    driver: Driver,
    profile: Profile,
    profileDigest: Digest,
    prepared: PreparedCall,
  ) => Promise<Taken>;
  /** A call is over: what the next ones need may be built now. */
  readonly restock: () => void;
  readonly poolStats: () => PoolStats | null;
  /** For a tool with `output: json`. */
  readonly checkOutput: (tool: Tool, execution: Execution) => Promise<CheckedOutput>;
  /** Of a learning run: what it used, as rules. */
  readonly learn: (
    profile: Profile,
    execution: Execution,
    egress: readonly EgressFact[],
  ) => Promise<Fragment | undefined>;
  readonly close: () => Promise<void>;
}

export interface GateMetrics {
  /** Null for a gate that makes one call and ends: it has no pool. */
  readonly pool: PoolStats | null;
}

const UNLEARNT: Fragment = {
  yaml: "sandbox: {}\n",
  flags: [],
  notes: ["what this run used cannot be told: a fault of the gate"],
};

/** What a person pipes in reaches a tool whose manifest feeds it nothing else. */
function withInput(command: Command, { stdin }: CallOptions): Command {
  return stdin === undefined || command.stdin !== undefined ? command : { ...command, stdin };
}

/** The door: every call goes through here, top to bottom, or nothing runs. */
export class Gate implements AsyncDisposable {
  readonly log: AuditLog;
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.log = parts.log;
    this.#parts = parts;
  }

  /**
   * Judges, entitles, confines, records and runs one call. A refusal is a result, not an exception.
   * @throws GateError of exit 70 or 78: the record, the state or the configuration is at fault; nothing ran, or what
   * ran is recorded as an intent without an outcome.
   */
  async call(request: CallRequest, options: CallOptions = {}): Promise<CallResult> {
    const asked: Asked = { id: newCallId(), request, context: this.#parts.context };
    try {
      // Stage 1, intent: is this action allowed?
      asked.prepared = await this.#parts.prepare(asked.id, request);
      asked.decision = await this.#parts.decide(asked.prepared);
      const permit = permitted(asked.decision);
      // Stage 2, capability: may this caller?
      const profile = this.#parts.profileOf(asked.prepared, permit);
      const confinement = profileDigest(profile);
      const digest = requestDigest(asked.prepared, confinement, permit);
      const admission = admit(this.#parts.session, asked.prepared.call, permit, digest);
      if (!admission.admitted)
        throw new GateError(admission.code, admission.message, { remedy: admission.remedy });
      // Stage 3, sandbox: built and inspected before anything of the tool is in it.
      const driver = selectDriver(profile, this.#parts.drivers);
      await using staged = await this.#parts.stage(asked.id, profile);
      const taken = await this.#parts.openSandbox(
        onCopies(driver, staged),
        profile,
        confinement,
        asked.prepared,
      );
      await using sandbox = taken.sandbox;
      const controls = await sandbox.inspect();
      requireControls(asked.prepared.tool, controls, taken.spoiled);
      // Stage 4, audit: durable before the tool is let in, and again before the result is handed back.
      const { tool, command } = asked.prepared;
      const payloads = { keepPayloads: TIER_MINIMUMS[tool.tier].payloadsKept };
      const { waitedMs } = taken;
      const { isolation } = profile;
      const opened = { driver: driver.name, isolation, profileDigest: confinement, controls, waitedMs };
      await this.log.append(
        [intentDraft(asked.prepared, permit, digest, admission.capability.id), openedDraft(asked.id, opened)],
        { spend: [admission.spend], ...payloads },
      );
      const startedMs = Date.now();
      await using egress = new EgressJournal(asked.id, (facts) => this.log.append(facts));
      const execution = await this.#letIn(sandbox, admission.capability, withInput(command, options), {
        ...options,
        onEgress: (fact) => egress.note(fact),
      });
      const changes = await staged?.settle(execution);
      const learned = await this.#learn(profile, execution, egress.facts);
      const answered: Answered = { ...opened, startedMs, execution, changes, learned };
      // In this order: what happened at the network's edge, and then how the call ended.
      const edge = egress.close();
      edge.catch(() => {}); // waited for below
      const [recorded] = await this.log.append([outcomeDraft(asked.prepared, answered)], {
        receipts: true,
        ...payloads,
      });
      // That outcome is durable, and decides about the changes; an error from here on undoes none.
      staged?.finish();
      await edge;
      const output = await this.#parts.checkOutput(tool, execution);
      return resultOf(asked.prepared, permit, answered, {
        masks: this.log,
        receipt: recorded?.receipt ?? null,
        output,
      });
    } catch (error) {
      return await this.#refuse(asked, error);
    } finally {
      setImmediate(this.#parts.restock);
    }
  }

  /** What waits, and how often a call found something waiting. */
  metrics(): GateMetrics {
    return { pool: this.#parts.poolStats() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.close();
  }

  /** Lets the tool in and waits for its end. What it writes meanwhile is handed on masked. */
  async #letIn(
    sandbox: Sandbox,
    capability: Capability,
    command: Command,
    options: ReleaseOptions,
  ): Promise<Execution> {
    const { end, ...live } = maskedOutput(this.log, options);
    const execution = await settled(sandbox.release(capability, command, { ...options, ...live }));
    end();
    return execution;
  }

  /** A fault in what is only told leaves the record as whole as without it. */
  async #learn(
    profile: Profile,
    execution: Execution,
    egress: readonly EgressFact[],
  ): Promise<Fragment | undefined> {
    return await this.#parts.learn(profile, execution, egress).catch(() => UNLEARNT);
  }

  /** A refusal is durable before it is answered; a fault of ours or of the configuration goes on as it is. */
  async #refuse(asked: Asked, error: unknown): Promise<CallResult> {
    if (!(error instanceof GateError) || !REFUSAL_EXITS.has(error.exitCode)) throw error;
    const [recorded] = await this.log.append([deniedDraft(asked, error, this.#parts.session.caller)], {
      receipts: true,
    });
    return refusalResult(asked, error, recorded?.receipt ?? null);
  }
}
