import assert from "node:assert/strict";
import { release } from "node:os";
import { test } from "node:test";
import { readHostFacts, wslOf } from "./host-facts.ts";

/** With these variables set, and only these of those that are looked at. */
function factsWith(variables: Readonly<Record<string, string>>): ReturnType<typeof readHostFacts> {
  const looked = ["GITHUB_ACTIONS", "GITLAB_CI", "CI", "KUBERNETES_SERVICE_HOST"];
  const before = Object.fromEntries(looked.map((name) => [name, process.env[name]]));
  try {
    for (const name of looked) delete process.env[name];
    Object.assign(process.env, variables);
    return readHostFacts(["sh", "no-such-program-anywhere"]);
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

test("reads this host", () => {
  const facts = factsWith({});
  assert.equal(facts.kernel, release());
  assert.equal(facts.uid, process.geteuid?.());
  assert.deepEqual(facts.programs, ["sh"]);
  assert.equal(facts.ci, undefined);
  assert.equal(facts.userns.known, true);
  assert.notEqual(facts.distribution.id, "");
});

test("knows a runner and a pod by their variables", () => {
  assert.equal(factsWith({ GITHUB_ACTIONS: "true", CI: "true" }).ci, "GitHub Actions");
  assert.equal(factsWith({ GITLAB_CI: "true", CI: "true" }).ci, "GitLab CI");
  assert.equal(factsWith({ CI: "true" }).ci, "another");
  assert.equal(factsWith({ KUBERNETES_SERVICE_HOST: "10.0.0.1" }).container, "kubernetes");
});

test("tells the two WSLs apart by their kernels' names", () => {
  assert.equal(wslOf("4.4.0-19041-Microsoft"), 1);
  assert.equal(wslOf("5.15.153.1-microsoft-standard-WSL2"), 2);
  assert.equal(wslOf("6.8.0-57-generic"), undefined);
});
