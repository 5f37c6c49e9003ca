import type { PolicySet as CedarPolicySet, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import canonicalize from "canonicalize";
import type { Caller, ToolCall } from "../contract/call.ts";
import { GateError } from "../contract/errors.ts";
import { type Digest, digestOf, type ToolName } from "../contract/ids.ts";
import type { Tool } from "../contract/tool.ts";
import type { Cedar } from "./cedar.ts";
import { cedarSchema } from "./cedar-schema.ts";
import { type CedarRecord, inputType } from "./input-type.ts";
import type { Policy, PolicySet } from "./policy.ts";
import { contextSight, type Sight } from "./policy-text.ts";
import { buildRequest, type CallFacts, type Request, type RequestResult } from "./request.ts";

/** What Cedar says. `errors`: no answer can be relied on, whatever the rest says. */
export interface Verdict {
  readonly allowed: boolean;
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
  readonly errors: readonly string[];
}

/** A tool, ready to be judged for one kind of caller. */
export interface Prepared {
  readonly tool: Tool;
  readonly type: CedarRecord;
  readonly slice: readonly Policy[];
  readonly sight: Sight;
  /** Over ids and texts of the slice. */
  readonly policyDigest: Digest;
}

/** Asks Cedar, about one tool at a time: its slice of the policies, its part of the schema. */
export class Evaluator {
  readonly #cedar: Cedar;
  readonly #policies: PolicySet;
  readonly #tools: ReadonlyMap<ToolName, Tool>;
  readonly #prepared = new Map<string, Prepared>();

  constructor(cedar: Cedar, tools: readonly Tool[], policies: PolicySet) {
    this.#cedar = cedar;
    this.#policies = policies;
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
  }

  /** @throws GateError `ERR_TOOL_UNKNOWN` when the tool is not the catalogue's. */
  prepare(tool: Tool, kind: Caller["kind"]): Prepared {
    const known = this.#tools.get(tool.name);
    if (known === undefined || known.digest !== tool.digest) {
      throw new GateError(
        "ERR_TOOL_UNKNOWN",
        `tool \`${tool.name}\` is not the one these policies were loaded for`,
      );
    }
    const key = `${kind} ${tool.name}`;
    const prepared = this.#prepared.get(key) ?? this.#parse(known, kind);
    this.#prepared.set(key, prepared);
    return prepared;
  }

  request(prepared: Prepared, call: ToolCall, facts: CallFacts): RequestResult {
    return buildRequest(call, prepared.type, facts, prepared.sight);
  }

  /** The whole request, also what no policy looks at: for people. */
  wholeRequest(prepared: Prepared, call: ToolCall, facts: CallFacts): RequestResult {
    return buildRequest(call, prepared.type, facts, "all");
  }

  /** Judges by the tool's slice. */
  verdict(prepared: Prepared, request: Request): Verdict {
    return this.#ask(prepared, request, prepared.policyDigest);
  }

  /** Judges by one policy made up for the purpose, such as one condition of another. */
  verdictOf(prepared: Prepared, request: Request, policy: PolicyJson): Verdict {
    const parsed = this.#cedar.preparsePolicySet(PROBE, { staticPolicies: { probe: policy } });
    return parsed.type === "failure" ? failed([]) : this.#ask(prepared, request, PROBE);
  }

  #ask(prepared: Prepared, request: Request, policySet: string): Verdict {
    return attempt(() =>
      this.#cedar.statefulIsAuthorized({
        ...request,
        preparsedSchemaName: schemaName(prepared.tool),
        preparsedPolicySetId: policySet,
        // Without the schema a policy that errs is skipped, and a forbid with it.
        validateRequest: true,
      }),
    );
  }

  /** A policy in Cedar's words. */
  textOf(policy: PolicyJson): string {
    const answer = this.#cedar.policyToText(policy);
    return answer.type === "success" ? answer.text : "";
  }

  /** Cedar keeps what it parsed by name, for the process; names are digests, so judges cannot mix. */
  #parse(tool: Tool, kind: Caller["kind"]): Prepared {
    const slice = this.#policies.sliceFor(tool, kind);
    const texts = Object.fromEntries(slice.map((policy) => [policy.id, policy.text]));
    const policyDigest = digestOf(canonicalize(texts) ?? "");
    const policies: CedarPolicySet = { staticPolicies: texts };
    const answers = [
      this.#cedar.preparseSchema(schemaName(tool), cedarSchema([tool])),
      this.#cedar.preparsePolicySet(policyDigest, policies),
    ];
    const failed = answers.find((answer) => answer.type === "failure");
    if (failed?.type === "failure") {
      const internal = failed.errors.map((error) => error.message).join("; ");
      throw new GateError("ERR_INTERNAL", `policies for \`${tool.name}\` could not be prepared`, {
        internal,
      });
    }
    const sight = contextSight(Object.values(texts));
    return { tool, type: inputType(tool), slice, sight, policyDigest };
  }
}

/** The one set that is parsed over and over, for probing; never a digest. */
const PROBE = "probe";

function schemaName(tool: Tool): string {
  return `${tool.name} ${tool.digest}`;
}

/** Everything that is not an answer is an error, a trap inside WebAssembly included. */
function attempt(ask: () => ReturnType<Cedar["isAuthorized"]>): Verdict {
  try {
    const answer = ask();
    if (answer.type === "failure") return failed(answer.errors.map((error) => error.message));
    const { decision, diagnostics } = answer.response;
    if (diagnostics.errors.length > 0) {
      return failed(
        diagnostics.errors.map(({ policyId, error }) => `policy \`${policyId}\`: ${error.message}`),
      );
    }
    return { allowed: decision === "allow", policies: diagnostics.reason.toSorted(), errors: [] };
  } catch (error) {
    return failed([String(error)]);
  }
}

function failed(errors: readonly string[]): Verdict {
  return { allowed: false, policies: [], errors: errors.length > 0 ? errors : ["no reason given"] };
}
