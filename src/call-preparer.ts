import { EXEC_TOOL } from "./catalog/builtin.ts";
import { callNetwork } from "./catalog/call-network.ts";
import { buildCommand } from "./catalog/command.ts";
import { ExecInput } from "./catalog/exec-input.ts";
import type { CallContext, Caller } from "./contract/call.ts";
import { GateError } from "./contract/errors.ts";
import type { CallId } from "./contract/ids.ts";
import { deepFreeze, type JsonObject } from "./contract/json.ts";
import type { Tool } from "./contract/tool.ts";
import type { CallRequest, PreparedCall } from "./gate.ts";
import { hostFacts } from "./intent/facts.ts";
import { parseInput } from "./intent/input.ts";
import type { InputValidator } from "./intent/input-schema.ts";
import type { LoadedProject } from "./load-project.ts";

/** Turns a surface's request into a call that can be judged: the tool found, its input parsed and checked, frozen. */
export class CallPreparer {
  readonly #loaded: LoadedProject;
  readonly #caller: Caller;
  readonly #context: CallContext;
  #validator: Promise<InputValidator> | undefined;

  constructor(loaded: LoadedProject, caller: Caller, context: CallContext) {
    this.#loaded = loaded;
    this.#caller = caller;
    this.#context = context;
  }

  /** @throws GateError `ERR_TOOL_UNKNOWN`, `ERR_LOCK_MISMATCH`, `ERR_INPUT_*`, `ERR_PATH_OUTSIDE`. */
  async prepare(id: CallId, { tool: name, input: given }: CallRequest): Promise<PreparedCall> {
    const tool = this.#loaded.catalog.get(name);
    await this.#checkLock(tool);
    const input = ExecInput.is(given) ? given.value : await this.#check(tool, given);
    if (ExecInput.is(given) && tool !== EXEC_TOOL)
      throw new GateError("ERR_USAGE", "this input is for `callgate.exec`");
    const { argv, stdin } = buildCommand(tool, input);
    const call = deepFreeze({
      id,
      tool: tool.name,
      toolDigest: tool.digest,
      input,
      network: callNetwork(tool, input),
      caller: this.#caller,
      context: this.#context,
      receivedMs: Date.now(),
    });
    return {
      tool,
      call,
      command: { argv, ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin) }) },
      environment: ExecInput.is(given) ? given.environment : {},
      explainSyscalls: ExecInput.is(given) && given.explainSyscalls,
    };
  }

  async #checkLock(tool: Tool): Promise<void> {
    const { lock } = this.#loaded;
    if (lock !== undefined) (await import("./catalog/lock.ts")).checkLock(lock, tool);
  }

  async #check(tool: Tool, given: string | JsonObject): Promise<JsonObject> {
    const text = typeof given === "string" ? given : JSON.stringify(given);
    const parsed = parseInput(text, tool.sandbox.limits);
    this.#validator ??= import("./intent/input-schema.ts").then(({ createInputValidator }) =>
      createInputValidator(),
    );
    const checked = (await this.#validator).validate(
      tool,
      parsed,
      hostFacts(this.#loaded.project.workspace.root),
    );
    if (checked.ok) return checked.input;
    const { code, message, remedy } = checked;
    throw new GateError(code, message, remedy === undefined ? {} : { remedy });
  }
}
