import assert from "node:assert/strict";
import { test } from "node:test";
import type { JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { createJudge } from "./decide.ts";
import { type Explanation, explain } from "./explain.ts";
import { CATALOG, DEPLOY, DEVELOPMENT, job, makeCall, OWNER, PRODUCTION, SEARCH } from "./intent.fixture.ts";

async function why(
  text: string,
  tool: Tool,
  input: JsonObject,
  caller = OWNER,
  environment = DEVELOPMENT,
): Promise<Explanation> {
  const judge = await createJudge({ tools: CATALOG, policies: [{ file: "p.cedar", text }], environment });
  return explain(judge, makeCall(tool, input, { caller, context: { environment, depth: 0 } }), tool);
}

const SOURCES = `@id("sources")
permit (principal is User, action == Action::"repo.search", resource)
when { context.input.path like "src/*" && context.input has depth && context.input.depth < 5 };
`;
const FOUND = { pattern: "x", path: "src/a", depth: 1 };

test("a permit is explained by its policies, their text and what they looked at", async () => {
  const explained = await why(SOURCES, SEARCH, { ...FOUND, weight: 0.5 });
  assert.equal(explained.decision.effect, "permit");
  const [deciding] = explained.deciding;
  assert.equal(deciding?.text, SOURCES.trim());
  assert.deepEqual(deciding?.place, { file: "p.cedar", line: 1, column: 1 });
  assert.deepEqual(deciding?.fields, [
    { field: "context.input.depth", value: 1 },
    { field: "context.input.path", value: "src/a" },
  ]);
  assert.deepEqual(
    explained.seen.opaque.map(({ pointer }) => pointer),
    ["/weight"],
  );
  assert.deepEqual([explained.nearest, explained.remedies], [[], []]);
  assert.deepEqual(explained.obligations, ["isolation must be `process` or stronger"]);
});

test("the nearest permit names the condition that failed and the field", async () => {
  const explained = await why(SOURCES, SEARCH, { ...FOUND, path: "lib/a" });
  assert.deepEqual(explained.nearest[0]?.failed, [
    {
      part: "when",
      text: 'context.input.path like "src/*"',
      fields: [{ field: "context.input.path", value: "lib/a" }],
    },
  ]);
  assert.match(explained.remedies[0] ?? "", /`sources` would permit it if this held: .*like "src\/\*"/);
});

test("a guard that fails is told once, without what it guards", async () => {
  const explained = await why(SOURCES, SEARCH, { pattern: "x", path: "src/a" });
  assert.equal(explained.nearest[0]?.failed.length, 1);
  assert.match(explained.nearest[0]?.failed[0]?.text ?? "", /has/);
});

test("the kind of caller and the environment are told as the one thing that would do", async () => {
  const other = await why(SOURCES, SEARCH, FOUND, job());
  assert.deepEqual(other.nearest[0]?.matchesIf, ["the caller were a `User`"]);
  assert.equal(other.nearest[0]?.failed[0]?.text, "principal is User");
  const calm = `@id("calm") permit(principal, action, resource) unless { resource.protected || principal is Job };`;
  const closed = await why(calm, SEARCH, FOUND, OWNER, PRODUCTION);
  assert.deepEqual(closed.nearest[0]?.matchesIf, ["the environment were not protected"]);
  assert.deepEqual(
    closed.nearest[0]?.failed.map(({ part, fields }) => [part, fields]),
    [["unless", [{ field: "resource.protected", value: true }]]],
  );
  assert.equal(closed.remedies[0], "policy `calm` would permit it if the environment were not protected");
});

test("nearer permits come first", async () => {
  const far = `@id("far") permit(principal is Service, action, resource) when { resource.protected && context.call.depth > 3 };`;
  const explained = await why(`${far}\n${SOURCES}`, SEARCH, { ...FOUND, path: "." });
  assert.deepEqual(
    explained.nearest.map(({ id }) => id),
    ["sources", "far"],
  );
});

test("a forbid is explained by what matched", async () => {
  const text = `@id("yes") permit(principal, action, resource);\n@id("no") @reason("not here") forbid(principal, action, resource) when { context.call.depth == 0 };`;
  const explained = await why(text, SEARCH, FOUND);
  assert.deepEqual(
    explained.deciding.map(({ id, place, fields }) => [id, place.line, fields]),
    [["no", 2, [{ field: "context.call.depth", value: 0 }]]],
  );
  assert.deepEqual(explained.decision.reasons, ["not here"]);
  assert.deepEqual(explained.nearest, []);
  assert.match(explained.remedies.join(), /`no`/);
});

test("what a tier asks for is told, also when it forbids", async () => {
  const text = `@id("yes") permit(principal, action, resource);`;
  const open = await why(text, DEPLOY, { target: "x" });
  assert.match(
    open.obligations.join("; "),
    /must be protected; one person must approve it; the caller must confirm/,
  );
  assert.match(open.remedies.join(), /protected: true/);
  const closed = await why(text, DEPLOY, { target: "x" }, OWNER, PRODUCTION);
  assert.equal(closed.decision.effect, "ask");
});
