import assert from "node:assert/strict";
import { test } from "node:test";
import { UNTRUSTED_JOBS_ONLY_ANALYSE } from "./ci-policies.fixture.ts";
import { CATALOG, DEVELOPMENT, PRODUCTION } from "./intent.fixture.ts";
import { type PolicyTest, runPolicyTests } from "./policy-test.ts";

const OPTIONS = {
  tools: CATALOG,
  policies: [{ file: "ci.cedar", text: UNTRUSTED_JOBS_ONLY_ANALYSE }],
  environment: DEVELOPMENT,
};
const SEARCH: PolicyTest = {
  name: "a job may search",
  tool: "repo.search",
  input: { pattern: "x" },
  caller: { kind: "Job" },
  expect: "permit",
};

test("expectations that hold pass", async () => {
  const results = await runPolicyTests(OPTIONS, [
    { ...SEARCH, policies: ["jobs-may-analyse"] },
    {
      name: "an untrusted one may not deploy",
      tool: "app.deploy",
      input: { target: "x" },
      caller: { kind: "Job", claims: { trusted: false } },
      context: { environment: PRODUCTION },
      expect: "forbid",
      policies: ["untrusted-jobs-never-deploy"],
    },
    {
      name: "a trusted one is asked about",
      tool: "app.deploy",
      input: { target: "x" },
      caller: { kind: "Job", claims: { trusted: true } },
      context: { environment: PRODUCTION },
      expect: "ask",
    },
    { ...SEARCH, name: "a user may not", caller: { kind: "User" }, expect: "forbid", policies: [] },
  ]);
  assert.deepEqual(
    results.map(({ passed, diff }) => [passed, diff]),
    results.map(() => [true, []]),
  );
});

test("expectations that do not hold say what differs", async () => {
  const diffs = async (over: Partial<PolicyTest>): Promise<string> => {
    const [result] = await runPolicyTests(OPTIONS, [{ ...SEARCH, ...over }]);
    assert.equal(result?.passed, false);
    return result?.diff.join(" | ") ?? "";
  };
  assert.match(
    await diffs({ expect: "forbid" }),
    /expected forbid, got permit: any job may run read-only analysis/,
  );
  assert.match(
    await diffs({ policies: ["trusted-jobs-may-deploy"] }),
    /`trusted-jobs-may-deploy` did not decide \| policy `jobs-may-analyse` decided, unexpected/,
  );
  assert.match(await diffs({ policies: ["jobs-may-analyse", "no-such"] }), /`no-such` does not exist/);
  assert.match(await diffs({ tool: "repo.serch" }), /does not exist \| did you mean `repo\.search`/);
  assert.match(await diffs({ input: {} }), /input: .*`pattern`/);
  assert.match(await diffs({ input: { pattern: "x", path: "../x" } }), /leaves the workspace/);
});
