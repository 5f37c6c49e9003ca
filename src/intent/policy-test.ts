import type { Environment, ToolCall } from "../contract/call.ts";
import { newCallId } from "../contract/ids.ts";
import type { JsonObject } from "../contract/json.ts";
import { didYouMean } from "../contract/nearest.ts";
import type { Tool } from "../contract/tool.ts";
import { createJudge, type Judge, type JudgeOptions } from "./decide.ts";
import type { Facts } from "./facts.ts";
import { createInputValidator } from "./input-schema.ts";
import type { CallFacts } from "./request.ts";

/** One expectation of what the policies decide. */
export interface PolicyTest {
  readonly name: string;
  readonly tool: string;
  readonly input?: JsonObject;
  readonly caller: {
    readonly kind: ToolCall["caller"]["kind"];
    readonly id?: string;
    readonly proof?: ToolCall["caller"]["proof"];
    readonly claims?: ToolCall["caller"]["claims"];
  };
  readonly context?: Partial<Omit<ToolCall["context"], "parent">>;
  readonly artifacts?: CallFacts["artifacts"];
  readonly expect: "permit" | "ask" | "forbid";
  /** Ids of the policies that must decide, in any order; unset: whichever. */
  readonly policies?: readonly string[];
}

export interface PolicyTestResult {
  readonly name: string;
  readonly passed: boolean;
  /** What differs, one line each; empty when it passed. */
  readonly diff: readonly string[];
}

/** A workspace that exists nowhere, so that tests of policies mean the same on every machine. */
const NOWHERE: Facts = { workspace: "/workspace", look: () => ({ kind: "missing" }) };

export interface PolicyTestOptions extends JudgeOptions {
  /** What a call would reach; unset: what its tool says. */
  readonly networkOf?: (tool: Tool, input: JsonObject) => ToolCall["network"];
}

/**
 * Runs policy tests. Each may name its own environment; where it does not, it is judged in the gate's.
 * @throws GateError what `createJudge` throws; a test that makes no sense is a failed one.
 */
export async function runPolicyTests(
  options: PolicyTestOptions,
  tests: readonly PolicyTest[],
): Promise<PolicyTestResult[]> {
  const validator = await createInputValidator();
  const judges = new Map<string, Judge>();
  const results: PolicyTestResult[] = [];
  for (const test of tests) {
    const environment = test.context?.environment ?? options.environment;
    const key = JSON.stringify([environment.name, environment.protected]);
    const judge = judges.get(key) ?? (await createJudge({ ...options, environment }));
    judges.set(key, judge);
    const tool = options.tools.find((one) => one.name === test.tool);
    if (tool === undefined) {
      results.push(
        failed(test, `tool \`${test.tool}\` does not exist`, didYouMean(test.tool, names(options.tools))),
      );
      continue;
    }
    const valid = validator.validate(tool, test.input ?? {}, NOWHERE);
    if (!valid.ok) {
      results.push(failed(test, `input: ${valid.message}`, valid.remedy));
      continue;
    }
    const network = options.networkOf?.(tool, valid.input) ?? tool.sandbox.network;
    results.push(
      compare(test, judge, tool, callOf(test, tool, { input: valid.input, network }, environment)),
    );
  }
  return results;
}

function names(tools: readonly Tool[]): string[] {
  return tools.map((tool) => tool.name);
}

function failed(test: PolicyTest, ...lines: (string | undefined)[]): PolicyTestResult {
  return { name: test.name, passed: false, diff: lines.filter((line) => line !== undefined) };
}

function callOf(
  test: PolicyTest,
  tool: Tool,
  { input, network }: Pick<ToolCall, "input" | "network">,
  environment: Environment,
): ToolCall {
  const { kind, id = "test", claims = {} } = test.caller;
  const proof = test.caller.proof ?? (kind === "Job" || kind === "Service" ? "oidc" : "process-owner");
  return {
    id: newCallId(0),
    tool: tool.name,
    toolDigest: tool.digest,
    input,
    network,
    caller: { kind, id, proof, claims },
    context: { depth: 0, ...test.context, environment },
    receivedMs: 0,
  };
}

function compare(test: PolicyTest, judge: Judge, tool: Tool, call: ToolCall): PolicyTestResult {
  const decision = judge.decide(call, tool, { artifacts: test.artifacts ?? [] });
  const diff: string[] = [];
  if (decision.effect !== test.expect) {
    diff.push(`expected ${test.expect}, got ${decision.effect}: ${decision.reasons.join("; ")}`);
  }
  const expected = new Set(test.policies ?? decision.policies);
  const decided = new Set(decision.policies);
  for (const id of expected.difference(decided)) {
    const known = judge.policies.all.has(id);
    diff.push(known ? `policy \`${id}\` did not decide` : `policy \`${id}\` does not exist`);
  }
  for (const id of decided.difference(expected)) diff.push(`policy \`${id}\` decided, unexpected`);
  return { name: test.name, passed: diff.length === 0, diff };
}
