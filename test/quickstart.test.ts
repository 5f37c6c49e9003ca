import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadCatalog } from "../src/catalog/catalog.ts";
import { lockText } from "../src/catalog/lock.ts";
import { parseDocument } from "../src/config/document.ts";
import { type CallResult, type Gate, type OpenGateOptions, openGate } from "../src/index.ts";
import { type PolicyTest, runPolicyTests } from "../src/intent/policy-test.ts";
import { historyStep } from "../src/surfaces/cli/demo/judged.ts";
import { openStage, type Stage } from "../src/surfaces/cli/demo/stage.ts";

const EXAMPLE = join(import.meta.dirname, "../examples/quickstart");

function textsOf(pattern: string): ReadonlyMap<string, string> {
  const files = globSync(pattern, { cwd: EXAMPLE }).sort();
  return new Map(files.map((file) => [file, readFileSync(join(EXAMPLE, file), "utf8")]));
}

describe("examples/quickstart, called", () => {
  let stage: Stage;
  let gate: Gate;

  before(async () => {
    stage = openStage(undefined);
    const options: OpenGateOptions = {
      config: join(stage.workspace, "callgate.yaml"),
      state: stage.stateDir,
      workingDirectory: stage.workspace,
    };
    gate = await openGate(options);
    const made = await gate.call(historyStep(stage.workspace).request);
    assert.equal(made.exitCode, 0, made.stderr);
  });

  after(async () => {
    await gate?.[Symbol.asyncDispose]();
    stage?.[Symbol.dispose]();
  });

  async function run(tool: string, input: Record<string, string | number>): Promise<CallResult> {
    return await gate.call({ tool, input });
  }

  async function runs(tool: string, input: Record<string, string | number>): Promise<string> {
    const result = await run(tool, input);
    assert.deepEqual([result.outcome, result.exitCode, result.error], ["exited", 0, null], result.stderr);
    return result.stdout;
  }

  async function refusal(tool: string, input: Record<string, string | number>): Promise<string> {
    const { outcome, error, receipt } = await run(tool, input);
    assert.match(outcome, /^(?:invalid|forbidden)$/);
    assert.notEqual(receipt, null);
    return error?.code ?? "";
  }

  it("searches with ripgrep", async () => {
    assert.equal(
      await runs("repo.search", { pattern: "TODO", path: "src" }),
      "src/timetable.js:5:  // TODO: boats after midnight belong to the day before\n" +
        "src/timetable.js:13:  // TODO: an empty timetable has no first boat\n",
    );
    assert.match(await runs("repo.search", { pattern: "^export function \\w+Time" }), /src\/clock\.js:4:/);
    // A pattern is a pattern, whatever it looks like.
    for (const pattern of ["--files", "$(touch pwned)", "x; touch pwned"]) {
      const { exitCode, stdout } = await run("repo.search", { pattern, path: "src" });
      assert.deepEqual([exitCode, stdout], [1, ""], pattern);
    }
    assert.equal(existsSync(join(stage.workspace, "pwned")), false);
  });

  it("tells the history with git, the same on every machine", async () => {
    const history = await runs("repo.history", {});
    assert.equal(
      history.replaceAll(/^[0-9a-f]{7,} /gm, ""),
      [
        "2026-03-10 grace: Put a gate before the tools",
        "2026-03-09 grace: Deploy by one small program",
        "2026-03-05 linus: Find the next boat",
        "2026-03-03 ada: Three lines and their departures",
        "2026-03-02 ada: Tell the time",
        "",
      ].join("\n"),
    );
    assert.match(await runs("repo.history", { path: "data", count: 5 }), /^\S+ 2026-03-03 ada: [^\n]+\n$/);
  });

  it("asks JSON files with jq, and gives the value", async () => {
    const query = async (filter: string): Promise<unknown> =>
      (await run("json.query", { filter, file: "data/timetable.json" })).structured;
    assert.deepEqual(await query("[.lines[].name]"), ["Lighthouse", "Seal Rock", "Far Island"]);
    assert.equal(await query(".lines | map(.departures | length) | add"), 10);
  });

  it("runs the tests with Node's own runner: all, and one file", async () => {
    assert.match(await runs("tests.run", {}), /^\S+ pass 5$/m);
    assert.match(await runs("tests.run", { file: "test/clock.test.js" }), /^\S+ pass 2$/m);
  });

  it("writes where policy and sandbox both let it", async () => {
    await runs("file.write", { path: "src/shout.js", text: "export const shout = (s) => s + '!';\n" });
    const test =
      'import { test } from "node:test";\nimport { shout } from "../src/shout.js";\ntest("shouts", () => { if (shout("a") !== "b") throw new Error("quiet"); });\n';
    await runs("file.write", { path: "test/shout.test.js", text: test });
    const failed = await run("tests.run", { file: "test/shout.test.js" });
    assert.deepEqual([failed.outcome, failed.exitCode], ["exited", 1]);
    assert.match(failed.stdout, /quiet/);
  });

  it("leaves to the sandbox what no policy names", async () => {
    for (const path of [".git/config", "data/timetable.json", "callgate.yaml", "policies/people.cedar"]) {
      const before = readFileSync(join(stage.workspace, path));
      const { outcome, exitCode, stderr } = await run("file.write", { path, text: "mine\n" });
      assert.deepEqual([outcome, exitCode], ["exited", 1], path);
      assert.match(stderr, /Read-only file system/, path);
      assert.ok(readFileSync(join(stage.workspace, path)).equals(before), path);
    }
  });

  it("refuses what the schemas do not take", async () => {
    assert.equal(await refusal("repo.search", { pattern: 7 }), "ERR_INPUT_SCHEMA");
    assert.equal(await refusal("repo.search", { pattern: "x", flags: "--pre=sh" }), "ERR_INPUT_SCHEMA");
    assert.equal(await refusal("repo.history", { count: 1000 }), "ERR_INPUT_SCHEMA");
    assert.equal(await refusal("repo.search", { pattern: "root", path: "/etc" }), "ERR_PATH_OUTSIDE");
    assert.equal(await refusal("json.query", { filter: ".", file: "../../etc/passwd" }), "ERR_PATH_OUTSIDE");
    assert.equal(
      await refusal("json.query", { filter: "-n", file: "package.json" }),
      "ERR_INPUT_OPTION_LIKE",
    );
    const version = "1.0.0; rm -rf /";
    assert.equal(await refusal("service.deploy", { service: "timetable", version }), "ERR_INPUT_SCHEMA");
  });

  it("refuses what the policies forbid, and says which", async () => {
    for (const path of ["deploy/deploy.js", "src/../deploy/new.js", ".github/workflows/ci.yaml"]) {
      const { outcome, error, decision } = await run("file.write", { path, text: "" });
      assert.deepEqual(
        [outcome, error?.code, decision.policies],
        ["forbidden", "ERR_FORBIDDEN", ["deployment-changes-by-review"]],
        path,
      );
    }
  });

  it("refuses to deploy for want of approvals", async () => {
    const result = await run("service.deploy", { service: "timetable", version: "1.0.0" });
    assert.deepEqual(
      [result.outcome, result.error?.code, result.decision.effect, result.decision.policies],
      ["forbidden", "ERR_OBLIGATION_UNMET", "ask", ["deploy-with-two-approvals"]],
    );
    assert.match(result.error?.message ?? "", /2 approvals/);
  });

  it("refuses a tool that is not in the catalogue", async () => {
    const { outcome, error } = await run("repo.serach", { pattern: "x" });
    assert.deepEqual([outcome, error?.code], ["invalid", "ERR_TOOL_UNKNOWN"]);
  });
});

describe("examples/quickstart, read", () => {
  it("is in force once it is trusted, with six tools", async () => {
    using stage = openStage(undefined);
    const { project, catalog } = await stage.load();
    assert.equal(project.trust?.state, "trusted");
    assert.deepEqual(
      [...catalog.tools.keys()],
      [
        "callgate.exec",
        "file.write",
        "json.query",
        "repo.history",
        "repo.search",
        "service.deploy",
        "tests.run",
      ],
    );
  });

  it("has a current callgate.lock", () => {
    const lock = readFileSync(join(EXAMPLE, "callgate.lock"), "utf8");
    assert.equal(lockText(loadCatalog(textsOf("tools/*.yaml"))), lock, "run `callgate tools lock` in it");
  });

  it("finds the gate's own Node by a place that nobody may write", () => {
    const manifest = textsOf("tools/tests-run.yaml").get("tools/tests-run.yaml") ?? "";
    const files = /^ {2}files: .*$/m;
    assert.match(manifest, files);
    const load = (grant: string): unknown =>
      loadCatalog(new Map([["a.yaml", manifest.replace(files, () => `  files: { ${grant} }`)]]));
    assert.ok(load(`read: ["$\{node}/lib"]`));
    for (const grant of [`write: ["$\{node}"]`, `write: ["$\{node}/bin"]`, `read: ["$\{node}/../.."]`]) {
      assert.throws(() => load(grant), { code: "ERR_CONFIG_INVALID" }, grant);
    }
  });

  it("passes its own policy tests, which ask of every tool", async () => {
    const tools = [...loadCatalog(textsOf("tools/*.yaml")).tools.values()];
    const policies = [...textsOf("policies/*.cedar")].map(([file, text]) => ({ file, text }));
    const tests = [...textsOf("policies/tests/*.yaml")].flatMap(
      ([file, text]) => parseDocument(text, file).value as unknown as PolicyTest[],
    );
    const environment = { name: "staging", protected: true };
    const results = await runPolicyTests({ tools, policies, environment }, tests);
    assert.deepEqual(
      results.filter(({ passed }) => !passed),
      [],
    );
    const tested = new Set(tests.flatMap((test) => test.policies ?? []));
    const ids = policies.flatMap(({ text }) =>
      [...text.matchAll(/^@id\("([^"]+)"\)/gm)].map((match) => match[1]),
    );
    assert.deepEqual(
      ids.filter((id) => !tested.has(id ?? "")),
      [],
      "every policy decides in some test",
    );
  });
});
