import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import type { JsonObject } from "../contract/json.ts";
import { createJudge, DEPTH_MAX_DEFAULT } from "./decide.ts";
import { DEVELOPMENT, job, makeCall, makeTool, OWNER } from "./intent.fixture.ts";
import { type DecisionParts, decisionKey } from "./memo.ts";

const TOOL = makeTool("t", {
  properties: {
    name: { type: "string" },
    ratio: { type: "number" },
    list: { type: "array", items: { type: "string" } },
  },
});

function parts(text: string, input: JsonObject, over: Partial<DecisionParts> = {}): DecisionParts {
  return {
    tools: [TOOL],
    policies: [{ file: "p.cedar", text }],
    environment: DEVELOPMENT,
    depthMax: DEPTH_MAX_DEFAULT,
    tool: TOOL,
    call: makeCall(TOOL, input),
    ...over,
  };
}

function permit(condition: string): string {
  return `@id("a") permit(principal, action, resource) when { ${condition} };`;
}

function sameKey(condition: string, one: JsonObject, two: JsonObject): boolean {
  return decisionKey(parts(permit(condition), one)) === decisionKey(parts(permit(condition), two));
}

test("the input counts only as far as policy can see it", () => {
  assert.ok(sameKey("context.call.depth == 0", { name: "a" }, { name: "b" }));
  assert.ok(!sameKey('context.input has name && context.input.name == "a"', { name: "a" }, { name: "b" }));
  assert.ok(!sameKey('context["input"] has name', { name: "a" }, { name: "b" }));
  assert.ok(sameKey('"context.input" == "x"', { name: "a" }, { name: "b" }));
  assert.ok(
    sameKey("context.input has name", { ratio: 0.5 }, { ratio: 0.25 }),
    "a projection is what is seen",
  );
  assert.ok(!sameKey("context.opaque.isEmpty()", { ratio: 0.5 }, {}));
  assert.ok(sameKey("context.opaque.isEmpty()", { ratio: 0.5 }, { ratio: 0.25 }));
  assert.ok(!sameKey("context.digests.isEmpty()", { ratio: 0.5 }, { ratio: 0.25 }));
  assert.ok(!sameKey("context.digests.isEmpty()", { list: ["a", "b"] }, { list: ["b", "a"] }));
});

test("everything else a decision depends on counts", () => {
  const text = permit("context.call.depth == 0");
  const base = parts(text, {});
  const context = base.call.context;
  const other = makeTool("u");
  const changes: Partial<DecisionParts>[] = [
    { policies: [{ file: "p.cedar", text: `${text}\n` }] },
    { policies: [] },
    { tools: [TOOL, other] },
    { tools: [TOOL, other], tool: other },
    { environment: { name: "development", protected: true } },
    { depthMax: 5 },
    { facts: { artifacts: [{ digest: TOOL.digest, signed: true, proven: false }] } },
    { call: { ...base.call, caller: job() } },
    { call: { ...base.call, caller: { ...OWNER, claims: { team: "a" } } } },
    { call: { ...base.call, context: { ...context, depth: 1 } } },
    { call: { ...base.call, context: { ...context, event: "push" } } },
    { call: { ...base.call, context: { ...context, parent: base.call.id } } },
    { call: { ...base.call, tool: other.name } },
  ];
  const keys = [{}, ...changes].map((change) => decisionKey({ ...base, ...change }));
  assert.equal(new Set(keys).size, keys.length);
  const again = { ...base.call, id: makeCall(TOOL, {}).id, receivedMs: 9 };
  assert.equal(decisionKey({ ...base, call: again }), keys[0]);
});

test("reading the key loads neither Cedar nor ajv", () => {
  const script = `
    const { decisionKey } = await import(${JSON.stringify(new URL("./memo.ts", import.meta.url).href)});
    const loaded = [...Object.keys(process.report.getReport().sharedObjects), ...Object.keys((await import("node:module")).default._cache)];
    if (typeof decisionKey !== "function") throw new Error("no key");
    console.log(JSON.stringify(loaded.filter((file) => /cedar|ajv/.test(file))));`;
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.deepEqual(JSON.parse(output), []);
});

test("property: equal keys, equal decisions", async () => {
  const conditions = [
    "true",
    "context.call.depth == 0",
    "context.opaque.isEmpty()",
    'context.opaque.contains("/ratio")',
    'context.input has name && context.input.name like "a*"',
    'context["input"] has list && context.input.list.contains("x")',
    "context.digests.isEmpty()",
    "context has input",
    "principal is Job",
  ];
  const input = fc.record(
    {
      name: fc.constantFrom("a", "ab", "b"),
      ratio: fc.constantFrom(0.5, 0.25, 1),
      list: fc.array(fc.constantFrom("x", "y"), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  const policy = fc.record({
    effect: fc.constantFrom("permit", "forbid"),
    condition: fc.constantFrom(...conditions),
  });
  let shared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(policy, { minLength: 1, maxLength: 3 }),
      fc.array(input, { minLength: 8, maxLength: 12 }),
      async (policies, inputs) => {
        const text = policies
          .map(
            ({ effect, condition }, index) =>
              `@id("p${index}") ${effect}(principal, action, resource) when { ${condition} };`,
          )
          .join("\n");
        const judge = await createJudge({
          tools: [TOOL],
          policies: [{ file: "p.cedar", text }],
          environment: DEVELOPMENT,
        });
        const decided = new Map<string, string>();
        for (const one of inputs) {
          for (const caller of [OWNER, job()]) {
            const call = makeCall(TOOL, one, { caller });
            const key = decisionKey(parts(text, one, { call }));
            const decision = JSON.stringify(judge.decide(call, TOOL));
            if (decided.has(key)) shared += 1;
            assert.equal(decided.get(key) ?? decision, decision, text);
            decided.set(key, decision);
          }
        }
      },
    ),
    { numRuns: 100 },
  );
  assert.ok(shared > 100, "keys are shared at all");
});
