import assert from "node:assert/strict";
import { test } from "node:test";
import { GateError } from "../contract/errors.ts";
import { builtinPolicies } from "./builtin-policies.ts";
import { loadCedar } from "./cedar.ts";
import { CATALOG, COMMENT, DEPLOY, makeTool, SEARCH } from "./intent.fixture.ts";
import { loadPolicies } from "./policies.ts";
import type { PolicySet } from "./policy.ts";

const cedar = await loadCedar();

function load(...texts: string[]): PolicySet {
  return loadPolicies(
    cedar,
    CATALOG,
    texts.map((text, index) => ({ file: `p${index}.cedar`, text })),
  );
}

/** The error's `code file:line:column message | remedy`. */
function fault(...texts: string[]): string {
  try {
    load(...texts);
  } catch (error) {
    if (error instanceof GateError) return `${error.code} ${error.message} | ${error.remedy ?? ""}`;
    throw error;
  }
  return "none";
}

test("one mistake hides no other: all are told, in the order of their places", () => {
  const texts = [
    `@id("c") permit(principal, action, resource) when { context.nosuch };\n@id("b") permit(principal, action == Action::"nosuch", resource);`,
    `@id("d") permit(principal, action, resource) when { 1 === 1 };\n@id("a") ${ANY}\n@id("a") ${ANY}`,
  ];
  try {
    load(...texts);
    assert.fail("it was taken");
  } catch (error) {
    assert.ok(error instanceof GateError);
    assert.deepEqual(
      [error, ...error.also].map(({ code, place }) => `${code} ${place?.file}:${place?.line}`),
      [
        "ERR_POLICY_INVALID p0.cedar:1",
        "ERR_POLICY_INVALID p0.cedar:2",
        "ERR_POLICY_SYNTAX p1.cedar:1",
        "ERR_POLICY_INVALID p1.cedar:3",
      ],
    );
  }
});

const ANY = "permit(principal, action, resource);";

test("ids survive, with the text and the place of each policy", () => {
  const text = `// é\n\n@id("a") ${ANY}\n  @id("b")\n  forbid(principal, action == Action::"repo.search", resource);\n`;
  const { all } = load(text);
  assert.deepEqual([...all.keys()], ["a", "b"]);
  assert.deepEqual(all.get("b")?.place, { file: "p0.cedar", line: 4, column: 3 });
  assert.equal(all.get("a")?.text, `@id("a") ${ANY}`);
});

test("every policy has an id and no two the same, across files", () => {
  assert.match(fault(ANY), /^ERR_POLICY_INVALID p0\.cedar:1:1: a policy has no `@id`/);
  assert.match(
    fault(`@id("a") ${ANY}`, `\n@id("a") ${ANY}`),
    /ERR_POLICY_INVALID p1\.cedar:2:1: two policies .*p0\.cedar:1:1/,
  );
  assert.match(fault(`@id("a\\nb") ${ANY}`), /ERR_POLICY_INVALID .* is not an id/);
});

test("annotations are read, and an unknown or wrong one is refused", () => {
  const { all } = load(
    `@id("a") @require_approvals("2") @require_isolation("gvisor") @require_confirmation @reason("because") ${ANY}`,
  );
  const asked = { approvals: 2, isolation: "gvisor", confirmation: true, reason: "because" };
  assert.deepEqual(all.get("a")?.annotations, asked);
  for (const annotation of [
    '@require_approval("2")',
    '@require_approvals("0")',
    '@require_approvals("-1")',
    '@require_approvals("two")',
    '@require_approvals("99")',
    "@require_approvals",
    '@require_isolation("none")',
    "@require_isolation",
    '@require_confirmation("false")',
    '@reason("")',
    '@reason("two\\nlines")',
    '@constructor("x")',
  ]) {
    assert.match(fault(`\n@id("a") ${annotation} ${ANY}`), /^ERR_POLICY_INVALID p0\.cedar:2:1/, annotation);
  }
  assert.match(fault(`@id("a") @require_approval("2") ${ANY}`), /did you mean `require_approvals`/);
  assert.match(
    fault(`@id("a") @require_confirmation forbid(principal, action, resource);`),
    /no meaning on a forbid/,
  );
});

test("text that does not parse is placed, in characters and not in bytes", () => {
  assert.match(
    fault(`// é é\n@id("é") permit(principal, action, resource) when { 1 === 1 };`),
    /^ERR_POLICY_SYNTAX p0\.cedar:2:57: unexpected token `=`/,
  );
  assert.match(
    fault(`@id("a") permit(principal, action, resource)`),
    /^ERR_POLICY_SYNTAX p0\.cedar:1:45: unexpected end/,
  );
  assert.match(fault(`@id("a") ${ANY} @id("b`), /^ERR_POLICY_SYNTAX/);
  assert.match(fault(`@id("a") ${ANY.slice(0, -1)}\n@id("b") ${ANY}`), /^ERR_POLICY_SYNTAX p0\.cedar:2:1/);
});

test("templates are refused", () => {
  assert.match(
    fault(`@id("a") permit(principal == ?principal, action, resource);`),
    /^ERR_POLICY_INVALID p0\.cedar:1:\d+: templates/,
  );
});

test("a policy that names what does not exist is refused, with the nearest name", () => {
  const on = (scope: string, rest = ""): string => `\n@id("a") permit(principal, ${scope}, resource)${rest};`;
  assert.match(
    fault(on('action == Action::"repo.serch"')),
    /^ERR_POLICY_INVALID p0\.cedar:2:1: .*the tool `repo\.serch`.*did you mean `repo\.search`/,
  );
  assert.match(
    fault(on('action in [Action::"category/analysys"]')),
    /group of tools .*did you mean `category\/analysis`/,
  );
  const search = 'action == Action::"repo.search"';
  assert.match(
    fault(on(search, ' when { context.input.patern == "x" }')),
    /^ERR_POLICY_INVALID p0\.cedar:2:\d+: .*`input\.patern`.*did you mean `pattern`/,
  );
  assert.match(fault(on(search, " when { context.input.pattern == 1 }")), /^ERR_POLICY_INVALID .*compatible/);
  assert.match(fault(on(search, " when { context.input.depth == 1 }")), /^ERR_POLICY_INVALID .*presence/);
  assert.match(
    fault(on(search, " when { context.input.weight == 1 }")),
    /^ERR_POLICY_INVALID .*opaque\.contains\("\/weight"\)/,
  );
  assert.match(fault(on(search, " when { context.approved }")), /^ERR_POLICY_INVALID/);
  assert.match(fault(on(search, " when { principal is Jobb }")), /did you mean `Job`/);
  assert.match(
    fault(on("action", ' when { context.input.pattern == "x" }')),
    /^ERR_POLICY_INVALID .*pattern/,
  );
  assert.equal(fault(on(search, " when { context.input has depth && context.input.depth == 1 }")), "none");
});

test("a policy that can never match is a warning", () => {
  const { warnings } = load(
    `@id("a") permit(principal, action in Action::"tier/medium", resource) when { context.call.depth == 1 && context.call.depth == 2 && false };`,
  );
  assert.ok(warnings.some((warning) => warning.policy === "a" && /impossible/.test(warning.message)));
});

test("each tool has its slice: what can match it and nothing else", () => {
  const set = load(
    `@id("all") ${ANY}`,
    `@id("one") permit(principal, action == Action::"repo.search", resource);`,
    `@id("tier") permit(principal, action in Action::"tier/low", resource);`,
    `@id("category") permit(principal, action in [Action::"category/deployment", Action::"pr.comment"], resource);`,
  );
  const ids = (tool: typeof SEARCH): string[] => set.sliceFor(tool).map((policy) => policy.id);
  assert.deepEqual(ids(SEARCH), ["all", "one", "tier"]);
  assert.deepEqual(ids(DEPLOY), ["all", "category"]);
  assert.deepEqual(ids(COMMENT), ["all", "category"]);
  assert.deepEqual(ids(makeTool("not.there")), []);
});

test("the built-in policies load over any catalogue, with and without `callgate.exec`", () => {
  const exec = makeTool("callgate.exec", { tier: "medium" });
  for (const tools of [CATALOG, [], [exec], [DEPLOY]]) {
    const { all } = loadPolicies(cedar, tools, builtinPolicies(tools));
    assert.equal(all.has("builtin-local-exec"), tools.includes(exec));
  }
});
