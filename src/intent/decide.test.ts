import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Caller, ToolCall } from "../contract/call.ts";
import type { Decision } from "../contract/decision.ts";
import { GateError } from "../contract/errors.ts";
import { digestOf } from "../contract/ids.ts";
import type { JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import {
  INFRASTRUCTURE_NEEDS_BRANCH_APPROVAL_PROVENANCE,
  RELEASES_PUBLISH_OWN_SIGNED_ARTIFACTS,
  UNTRUSTED_JOBS_ONLY_ANALYSE,
} from "./ci-policies.fixture.ts";
import { createJudge, DEPTH_MAX_DEFAULT, type Judge } from "./decide.ts";
import { createInputValidator } from "./input-schema.ts";
import {
  CATALOG,
  COMMENT,
  DEPLOY,
  DEVELOPMENT,
  job,
  linkFacts,
  makeCall,
  makeTool,
  OWNER,
  PRODUCTION,
  PUBLISH,
  SEARCH,
  TERRAFORM,
} from "./intent.fixture.ts";
import { type ArtifactFact, NO_FACTS } from "./request.ts";

function judge(
  texts: readonly string[],
  environment: typeof PRODUCTION = DEVELOPMENT,
  tools: readonly Tool[] = CATALOG,
): Promise<Judge> {
  const policies = texts.map((text, index) => ({ file: `p${index}.cedar`, text }));
  return createJudge({ tools, policies, environment });
}

function inProduction(caller: Caller): Partial<ToolCall> {
  return { caller, context: { environment: PRODUCTION, depth: 0 } };
}

function shape(decision: Decision): string {
  return `${decision.effect} ${decision.policies.join(",")}`;
}

const ANY = "permit(principal, action, resource);";
const DIGEST = digestOf("artifact");

test("no policy permits: forbid", async () => {
  const decide = await judge(["// nothing yet\n"]);
  const decision = decide.decide(makeCall(SEARCH, { pattern: "x", path: "." }), SEARCH);
  assert.ok(decision.effect === "forbid" && decision.code === "ERR_FORBIDDEN");
  assert.match(decision.reasons.join(), /no policy permits `repo.search`/);
  assert.ok(decision.remedies.length > 0 && Object.isFrozen(decision));
});

test("a permit names its policies, its reasons and its terms", async () => {
  const decide = await judge([`@id("a") @reason("because") ${ANY} @id("b") ${ANY}`]);
  const decision = decide.decide(makeCall(SEARCH, { pattern: "x", path: "." }), SEARCH);
  assert.deepEqual(decision, {
    effect: "permit",
    policies: ["a", "b"],
    reasons: ["because", "policy `b` permits it"],
    policyDigest: decision.policyDigest,
    grant: { isolation: "process", approvals: 0, confirmation: false, credentials: [] },
  });
});

test("terms are the strictest of tier, manifest and every policy that permits", async () => {
  const strict = `@id("strict") @require_approvals("3") @require_isolation("container") permit(principal, action, resource);`;
  const confirm = `@id("confirm") @require_confirmation permit(principal, action, resource) when { principal is User };`;
  const other = `@id("other") @require_isolation("microvm") permit(principal is Job, action, resource);`;
  const tool = makeTool("t", { isolation: "gvisor" });
  const decide = await judge([`@id("loose") ${ANY}`, strict, confirm, other], DEVELOPMENT, [tool]);
  const decision = decide.decide(makeCall(tool, {}), tool);
  assert.equal(shape(decision), "ask loose,strict,confirm");
  assert.ok(decision.effect === "ask");
  assert.deepEqual(decision.grant, {
    isolation: "gvisor",
    approvals: 3,
    confirmation: true,
    credentials: [],
  });
});

test("annotations never loosen a tier", async () => {
  const decide = await judge(
    [`@id("a") @require_approvals("1") @require_isolation("process") ${ANY}`],
    PRODUCTION,
  );
  const decision = decide.decide(makeCall(TERRAFORM, { plan: DIGEST }, inProduction(OWNER)), TERRAFORM);
  assert.ok(decision.effect === "ask");
  assert.deepEqual(decision.grant, {
    isolation: "gvisor",
    approvals: 2,
    confirmation: true,
    credentials: [],
  });
});

test("high and critical tools are forbidden outside protected environments, whatever policy says", async () => {
  const decide = await judge([`@id("a") ${ANY}`]);
  const decision = decide.decide(makeCall(DEPLOY, { target: "x" }), DEPLOY);
  assert.ok(decision.effect === "forbid" && decision.code === "ERR_FORBIDDEN");
  assert.match(decision.remedies.join(), /protected: true/);
});

test("a call cannot choose another environment than the gate's", async () => {
  const decide = await judge([`@id("a") ${ANY}`]);
  const others = [PRODUCTION, { name: "development", protected: true }, { name: "other", protected: false }];
  for (const environment of others) {
    const context = { environment, depth: 0 };
    const decision = decide.decide(makeCall(SEARCH, { pattern: "x", path: "." }, { context }), SEARCH);
    assert.ok(decision.effect === "forbid" && decision.code === "ERR_FORBIDDEN", environment.name);
  }
});

test("depth is bounded", async () => {
  const decide = await judge([`@id("a") ${ANY}`]);
  for (const depth of [DEPTH_MAX_DEFAULT + 1, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    const call = makeCall(
      SEARCH,
      { pattern: "x", path: "." },
      { context: { environment: DEVELOPMENT, depth } },
    );
    const decision = decide.decide(call, SEARCH);
    assert.ok(decision.effect === "forbid" && decision.code === "ERR_DEPTH", String(depth));
  }
});

test("a tool that is not the catalogue's or not the call's is a fault", async () => {
  const decide = await judge([`@id("a") ${ANY}`]);
  const changed = makeTool("repo.search");
  const call = makeCall(SEARCH, { pattern: "x", path: "." });
  for (const [one, tool] of [
    [makeCall(changed, {}), changed],
    [call, changed],
    [call, COMMENT],
  ] as const) {
    assert.throws(
      () => decide.decide(one, tool),
      (error) => error instanceof GateError && error.code === "ERR_TOOL_UNKNOWN",
    );
  }
});

test("pitfall: a policy that errs forbids, also when it is a forbid beside a permit", async () => {
  const overflow = `@id("no") forbid(principal, action, resource) when { context.call.depth + 9223372036854775807 > 0 };`;
  const decide = await judge([`@id("yes") ${ANY}`, overflow]);
  const deep: Partial<ToolCall> = { context: { environment: DEVELOPMENT, depth: 1 } };
  const decision = decide.decide(makeCall(SEARCH, { pattern: "x", path: "." }, deep), SEARCH);
  assert.ok(
    decision.effect === "forbid" && decision.code === "ERR_POLICY_EVALUATION",
    decision.reasons.join(),
  );
  assert.match(decision.reasons.join(), /`no`.*overflow/);
});

test("pitfall: the request is checked against the schema before anything is asked", async () => {
  const judged = await judge([`@id("yes") ${ANY}`]);
  const decision = judged.decide(makeCall(SEARCH, { path: "." }), SEARCH);
  assert.ok(
    decision.effect === "forbid" && decision.code === "ERR_POLICY_EVALUATION",
    "a required field is missing",
  );
  const prepared = judged.evaluator.prepare(SEARCH, "User");
  const built = judged.evaluator.request(prepared, makeCall(SEARCH, { pattern: "x", path: "." }), NO_FACTS);
  assert.ok(built.ok && judged.evaluator.verdict(prepared, built.request).allowed);
  const stranger = { type: "Environment", id: "development" };
  const verdict = judged.evaluator.verdict(prepared, { ...built.request, principal: stranger });
  assert.ok(!verdict.allowed && verdict.errors.length > 0, "a principal the schema does not know of");
});

test("pitfall: `like` sees canonical paths", async () => {
  const validator = await createInputValidator();
  const decide = await judge([
    `@id("src") permit(principal, action == Action::"repo.search", resource) when { context.input.path like "src/*" };`,
  ]);
  const facts = linkFacts({ "/work/src/out": "../secret" });
  const effect = (path: string): string => {
    const valid = validator.validate(SEARCH, { pattern: "x", path }, facts);
    return valid.ok ? decide.decide(makeCall(SEARCH, valid.input), SEARCH).effect : valid.code;
  };
  assert.equal(effect("src/a"), "permit");
  assert.equal(effect("src/../secret"), "forbid");
  assert.equal(effect("src/out/key"), "forbid");
  assert.equal(effect("src/../../etc/passwd"), "ERR_PATH_OUTSIDE");
});

test("pitfall: input Cedar cannot hold is judged, and what is hidden can be asked for", async () => {
  const tool = makeTool("t", {
    properties: { ratio: { type: "number" }, names: { type: "array", items: { type: "string" } } },
  });
  const decide = await judge(
    [
      `@id("yes") ${ANY}`,
      `@id("no") forbid(principal, action, resource) when { context.opaque.contains("/ratio") } unless { context.digests.contains({pointer: "/ratio", digest: "${digestOf("0.5")}"}) };`,
    ],
    DEVELOPMENT,
    [tool],
  );
  assert.equal(decide.decide(makeCall(tool, {}), tool).effect, "permit");
  assert.equal(decide.decide(makeCall(tool, { ratio: 0.5 }), tool).effect, "permit");
  assert.equal(decide.decide(makeCall(tool, { ratio: 0.25 }), tool).effect, "forbid");
});

test("a claim that is not what policy was told forbids rather than vanishes, and is named", async () => {
  const decide = await judge([`@id("yes") ${ANY}`]);
  const input = { pattern: "x", path: "." };
  const wrong: [Caller["claims"], RegExp][] = [
    [{ trusted: "true" }, /`trusted` is not a Boolean/],
    [{ ref_protected: 1 }, /`ref_protected` is not a Boolean/],
    [{ run_id: 77 }, /`run_id` is not a String/],
    [{ ref: "\ud800" }, /is not text/],
    [{ other: "\ud800" }, /is not text/],
  ];
  for (const [claims, reason] of wrong) {
    const decision = decide.decide(makeCall(SEARCH, input, { caller: job(claims) }), SEARCH);
    assert.ok(
      decision.effect === "forbid" && decision.code === "ERR_POLICY_EVALUATION",
      JSON.stringify(claims),
    );
    assert.match(decision.reasons.join(), reason);
  }
});

test("claims policy was not told of are tags, as text", async () => {
  const decide = await judge([
    `@id("team") permit(principal, action, resource) when { principal.hasTag("team") && principal.getTag("team") == "7" };`,
  ]);
  const call = (claims: Caller["claims"]): ToolCall =>
    makeCall(SEARCH, { pattern: "x", path: "." }, { caller: { ...OWNER, claims } });
  assert.equal(decide.decide(call({ team: 7 }), SEARCH).effect, "permit");
  assert.equal(decide.decide(call({}), SEARCH).effect, "forbid");
  const proto = JSON.parse('{"__proto__":"x","team":"7"}') as Caller["claims"];
  assert.equal(decide.decide(call(proto), SEARCH).effect, "permit");
});

test("the built-in policies: low and medium tools for this machine, exec for the owner, nothing else", async () => {
  const exec = makeTool("callgate.exec", { tier: "medium" });
  const tools = [...CATALOG, exec];
  const open = await judge([], DEVELOPMENT, tools);
  const closed = await judge([], PRODUCTION, tools);
  const agent: Caller = { kind: "Agent", id: "claude", proof: "session", claims: {} };
  const effect = (tool: Tool, input: JsonObject, caller: Caller): string =>
    open.decide(makeCall(tool, input, { caller }), tool).effect;
  const search = { pattern: "x", path: "." };
  assert.equal(effect(SEARCH, search, OWNER), "permit");
  assert.equal(effect(SEARCH, search, agent), "permit");
  assert.equal(effect(COMMENT, { body: "x" }, agent), "permit");
  assert.equal(effect(SEARCH, search, job()), "forbid");
  assert.equal(effect(SEARCH, search, { ...agent, proof: "oauth" }), "forbid");
  assert.equal(effect(exec, {}, OWNER), "permit");
  assert.equal(effect(exec, {}, { ...agent, proof: "process-owner" }), "permit");
  assert.equal(effect(exec, {}, agent), "forbid");
  for (const [tool, input] of [
    [SEARCH, search],
    [exec, {}],
    [DEPLOY, { target: "x" }],
  ] as const) {
    assert.equal(closed.decide(makeCall(tool, input, inProduction(OWNER)), tool).effect, "forbid", tool.name);
  }
});

test("seed: untrusted PR jobs may run read-only analysis and cannot trigger deployment", async () => {
  const decide = await judge([UNTRUSTED_JOBS_ONLY_ANALYSE], PRODUCTION);
  const pr = job({ trusted: false, event: "pull_request" });
  const ask = (tool: Tool, input: JsonObject, caller: Caller): string =>
    shape(decide.decide(makeCall(tool, input, inProduction(caller)), tool));
  assert.equal(ask(SEARCH, { pattern: "x", path: "." }, pr), "permit jobs-may-analyse");
  assert.equal(ask(DEPLOY, { target: "x" }, pr), "forbid untrusted-jobs-never-deploy");
  assert.equal(ask(DEPLOY, { target: "x" }, { ...pr, claims: {} }), "forbid untrusted-jobs-never-deploy");
  assert.equal(ask(DEPLOY, { target: "x" }, job()), "ask trusted-jobs-may-deploy");
  assert.equal(ask(COMMENT, { body: "x" }, pr), "forbid ");
});

test("seed: releases publish only signed artifacts of the same pipeline", async () => {
  const decide = await judge([RELEASES_PUBLISH_OWN_SIGNED_ARTIFACTS], PRODUCTION);
  const good: ArtifactFact = { digest: DIGEST, signed: true, proven: false, pipeline: "77" };
  const { pipeline: _, ...unknown } = good;
  const effect = (...artifacts: ArtifactFact[]): string =>
    decide.decide(makeCall(PUBLISH, { package: DIGEST }, inProduction(job())), PUBLISH, { artifacts }).effect;
  assert.equal(effect(good), "ask");
  assert.equal(effect(), "forbid", "nothing is known of no artifact");
  assert.equal(effect({ ...good, signed: false }), "forbid");
  assert.equal(effect({ ...good, pipeline: "78" }), "forbid");
  assert.equal(effect(unknown), "forbid");
  assert.equal(effect(good, unknown), "forbid", "an unknown origin is no origin that fits");
  assert.equal(effect(good, { ...good, pipeline: "78" }), "forbid", "one stranger spoils all");
  assert.equal(
    effect({ ...good, digest: digestOf("other") }),
    "forbid",
    "another artifact than the one published",
  );
});

test("seed: infrastructure needs protected branch, approval and provenance", async () => {
  const decide = await judge([INFRASTRUCTURE_NEEDS_BRANCH_APPROVAL_PROVENANCE], PRODUCTION);
  const proven: ArtifactFact = { digest: DIGEST, signed: true, proven: true };
  const decideFor = (caller: Caller, artifact: ArtifactFact): Decision =>
    decide.decide(makeCall(TERRAFORM, { plan: DIGEST }, inProduction(caller)), TERRAFORM, {
      artifacts: [artifact],
    });
  const decision = decideFor(job(), proven);
  assert.ok(decision.effect === "ask");
  assert.deepEqual(decision.grant, {
    isolation: "microvm",
    approvals: 2,
    confirmation: true,
    credentials: [],
  });
  assert.equal(decideFor(job({ ref_protected: false }), proven).effect, "forbid");
  assert.equal(decideFor(job(), { ...proven, proven: false }).effect, "forbid");
  const signed = await judge([
    `@id("signed") permit(principal, action, resource) when { context.artifacts.signed };`,
  ]);
  assert.equal(
    signed.decide(makeCall(SEARCH, { pattern: "x", path: "." }), SEARCH).effect,
    "forbid",
    "of no artifacts at all, none is signed",
  );
});

test("property: where a forbid matches, nothing permits; and slices decide as the whole would", async () => {
  const conditions = [
    "true",
    "principal is User",
    "resource.protected",
    'action in Action::"tier/low"',
    'action in Action::"category/analysis"',
    "context.call.depth > 0",
    'context.call has event && context.call.event == "push"',
    'principal.proof == "oidc"',
    "context.opaque.isEmpty()",
  ];
  const scope = fc.constantFrom(
    "action",
    'action in Action::"tier/low"',
    'action == Action::"repo.search"',
    'action in [Action::"category/collaboration"]',
  );
  const policy = fc.record({
    effect: fc.constantFrom("permit", "forbid"),
    scope,
    condition: fc.constantFrom(...conditions),
  });
  const caller = fc.constantFrom(OWNER, job(), job({ trusted: false }));
  const call = fc.record({
    low: fc.boolean(),
    caller,
    depth: fc.nat({ max: 1 }),
    event: fc.constantFrom("push", "pull_request", undefined),
    weight: fc.constantFrom(undefined, 0.5),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(policy, { minLength: 1, maxLength: 6 }),
      fc.array(call, { minLength: 1, maxLength: 8 }),
      async (parts, calls) => {
        const text = (one: (typeof parts)[number], id: string): string =>
          `@id("${id}") ${one.effect}(principal, ${one.scope}, resource) when { ${one.condition} };`;
        const all = await judge([parts.map((one, index) => text(one, `p${index}`)).join("\n")]);
        const alone = await Promise.all(
          parts.map((one, index) => judge([text({ ...one, effect: "permit" }, `p${index}`)])),
        );
        for (const one of calls) {
          const { event, weight } = one;
          const tool = one.low ? SEARCH : COMMENT;
          const input = one.low
            ? { pattern: "x", path: ".", ...(weight === undefined ? {} : { weight }) }
            : { body: "x" };
          const context = {
            environment: DEVELOPMENT,
            depth: one.depth,
            ...(event === undefined ? {} : { event }),
          };
          const asked = makeCall(tool, input, { caller: one.caller, context });
          const matches = parts.map((_, index) => alone[index]?.decide(asked, tool).effect === "permit");
          const forbidden = parts.some((part, index) => part.effect === "forbid" && matches[index]);
          const permitted = parts.some((part, index) => part.effect === "permit" && matches[index]);
          assert.equal(all.decide(asked, tool).effect, permitted && !forbidden ? "permit" : "forbid");
        }
      },
    ),
    { numRuns: 60 },
  );
});
