/** What a decision costs: over a realistic catalogue with 50 policies, and with 1,000. Run: `node bench/intent.ts` */
import { performance } from "node:perf_hooks";
import type { JsonObject } from "../src/contract/json.ts";
import type { Tool } from "../src/contract/tool.ts";
import { createJudge, DEPTH_MAX_DEFAULT } from "../src/intent/decide.ts";
import { explain } from "../src/intent/explain.ts";
import { hostFacts } from "../src/intent/facts.ts";
import { parseInput } from "../src/intent/input.ts";
import { createInputValidator } from "../src/intent/input-schema.ts";
import { DEVELOPMENT, job, makeCall, makeTool } from "../src/intent/intent.fixture.ts";
import { decisionKey } from "../src/intent/memo.ts";
import type { PolicyFile } from "../src/intent/policy.ts";

const CATEGORIES = ["analysis", "collaboration", "release", "deployment", "infrastructure"];
const ROUNDS = 3_000;

function makeCatalog(count: number): Tool[] {
  return Array.from({ length: count }, (_, index) =>
    makeTool(`team${index % 5}.tool${index}`, {
      tier: index % 3 === 0 ? "medium" : "low",
      categories: [CATEGORIES[index % CATEGORIES.length] ?? "analysis"],
      properties: {
        pattern: { type: "string", maxLength: 500 },
        path: { type: "string", format: "workspace-path", default: "." },
        names: { type: "array", items: { type: "string" } },
        ratio: { type: "number" },
        options: { type: "object", properties: { limit: { type: "integer" }, all: { type: "boolean" } } },
      },
      required: ["pattern"],
    }),
  );
}

/** A tenth speaks of every tool, a fifth of a group, the rest of one tool each. */
function makePolicies(count: number, tools: readonly Tool[]): PolicyFile[] {
  const policies = Array.from({ length: count }, (_, index) => {
    const tool = tools[index % tools.length]?.name;
    const category = CATEGORIES[index % CATEGORIES.length];
    const id = `@id("p${index}")`;
    if (index % 10 === 0 && index < 50) {
      return `${id} forbid(principal is Job, action, resource) when { context.call has event && context.call.event == "fork-${index}" };`;
    }
    if (index % 5 === 1) {
      return `${id} permit(principal is Job, action in Action::"category/${category}", resource) when { principal has trusted && principal.trusted && context.call.depth < 2 };`;
    }
    return `${id} permit(principal, action == Action::"${tool}", resource) when { context.input.path like "src/*" && context.input.pattern != "${index}" && !resource.protected };`;
  });
  return [{ file: "bench.cedar", text: policies.join("\n") }];
}

function measure(name: string, act: (round: number) => void, rounds: number = ROUNDS): void {
  for (let round = 0; round < rounds / 10; round += 1) act(round);
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now();
    act(round);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): string =>
    `${((times[Math.floor(times.length * share)] ?? 0) * 1000).toFixed(0)} us`;
  console.log(`${name.padEnd(44)} p50 ${at(0.5).padStart(8)}   p95 ${at(0.95).padStart(8)}`);
}

const INPUT: JsonObject = {
  pattern: "TODO",
  path: "src/index.ts",
  names: ["a", "b"],
  ratio: 0.5,
  options: { limit: 5 },
};

async function benchJudge(policyCount: number, toolCount: number): Promise<void> {
  const tools = makeCatalog(toolCount);
  const policies = makePolicies(policyCount, tools);
  const started = performance.now();
  const judge = await createJudge({ tools, policies, environment: DEVELOPMENT });
  const loaded = performance.now() - started;
  const calls = tools.map((tool) => ({ tool, call: makeCall(tool, INPUT, { caller: job() }) }));
  const slices = tools.map((tool) => judge.policies.sliceFor(tool).length);
  console.log(
    `\n${policyCount} policies, ${tools.length} tools; slices of ${Math.min(...slices)} to ${Math.max(...slices)}; loaded in ${loaded.toFixed(0)} ms`,
  );
  const pick = (round: number): (typeof calls)[number] =>
    calls[round % calls.length] as (typeof calls)[number];
  const effects = new Set(calls.map(({ call, tool }) => judge.decide(call, tool).effect));
  console.log(`effects seen: ${[...effects].join(", ")}`);
  measure("decide", (round) => void judge.decide(pick(round).call, pick(round).tool));
  const key = { tools, policies, environment: DEVELOPMENT, depthMax: DEPTH_MAX_DEFAULT };
  measure("decisionKey", (round) => void decisionKey({ ...key, ...pick(round) }), 300);
  const strangers = calls.map(({ tool }) => ({ tool, call: makeCall(tool, { ...INPUT, path: "lib" }) }));
  measure(
    "explain a refusal",
    (round) => {
      const { call, tool } = strangers[round % strangers.length] as (typeof strangers)[number];
      explain(judge, call, tool);
    },
    50,
  );
}

async function benchInput(): Promise<void> {
  const [tool] = makeCatalog(1) as [Tool];
  const validator = await createInputValidator();
  const facts = hostFacts(process.cwd());
  const text = JSON.stringify(INPUT);
  const large = JSON.stringify({
    pattern: "x",
    names: Array.from({ length: 20_000 }, (_, index) => `name ${index}`),
  });
  const limits = { inputBytes: 1024 * 1024 };
  console.log("\ninput");
  measure("parseInput, 100 bytes", () => void parseInput(text, limits));
  measure(`parseInput, ${(large.length / 1024).toFixed(0)} KiB`, () => void parseInput(large, limits), 50);
  measure("validate, one path on this disk", () => void validator.validate(tool, INPUT, facts));
}

await benchInput();
await benchJudge(50, 25);
await benchJudge(1_000, 200);
await benchJudge(1_000, 25);
