import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import type { AuditLog } from "../src/audit/log.ts";
import type { CallId } from "../src/contract/ids.ts";
import { ExecInput, openGate } from "../src/index.ts";
import { createProject } from "./project.fixture.ts";

async function kinds(log: AuditLog, call: CallId): Promise<readonly unknown[]> {
  return (await log.entriesOfCall(call)).map(({ entry }) => entry["kind"]);
}

describe("a call through all four stages", () => {
  for (const life of ["worker", "one-shot"] as const) {
    test(`${life}: permitted, confined, recorded, with a receipt`, async () => {
      using project = createProject();
      await using gate = await openGate({ workingDirectory: project.workspace, state: project.state, life });
      const result = await gate.call({ tool: "text.echo", input: { text: "a b; $(c)" } });
      assert.equal(result.outcome, "exited");
      assert.equal(result.exitCode, 0);
      assert.equal(result.stdout, "a b; $(c)");
      assert.equal(result.decision.effect, "permit");
      assert.deepEqual(result.decision.policies, ["builtin-local-tools"]);
      assert.equal(result.driver, "bubblewrap");
      assert.equal(result.controls?.seccomp.state, "enforced");
      assert.equal(result.receipt?.origin, gate.log.origin);
      assert.deepEqual(await kinds(gate.log, result.call), ["intent", "opened", "outcome"]);
      assert.equal(result.error, null);
    });
  }

  test("a remembered decision is the decision", async () => {
    using project = createProject();
    const options = { workingDirectory: project.workspace, state: project.state, life: "one-shot" } as const;
    const decisions = [];
    for (let i = 0; i < 2; i += 1) {
      await using gate = await openGate(options);
      decisions.push((await gate.call({ tool: "text.echo", input: { text: "x" } })).decision);
    }
    assert.deepEqual(decisions[0], decisions[1]);
  });
});

describe("a refusal", () => {
  const refusals: readonly [string, string, string, string, RegExp][] = [
    ["an unknown tool", "text.ecko", "{}", "ERR_TOOL_UNKNOWN", /text\.ecko/],
    ["an unknown key", "text.echo", '{"text":"x","tims":2}', "ERR_INPUT_SCHEMA", /tims/],
    ["a missing key", "text.echo", "{}", "ERR_INPUT_SCHEMA", /text/],
    ["a duplicate key", "text.echo", '{"text":"x","text":"y"}', "ERR_INPUT_SYNTAX", /text/],
    ["no JSON", "text.echo", "{", "ERR_INPUT_SYNTAX", /./],
    [
      "an integer that JSON rounds",
      "text.echo",
      '{"text":"x","times":9007199254740993}',
      "ERR_INPUT_SYNTAX",
      /9007199254740993/,
    ],
    ["too deep", "text.echo", `${"[".repeat(100_000)}`, "ERR_INPUT_TOO_DEEP", /./],
    ["too large", "text.echo", JSON.stringify({ text: "x".repeat(2_000_000) }), "ERR_INPUT_TOO_LARGE", /./],
    [
      "an entity in disguise",
      "text.echo",
      '{"text":{"__entity":{"type":"User","id":"root"}}}',
      "ERR_INPUT_SCHEMA",
      /text/,
    ],
    ["a path that leaves", "file.read", '{"path":"../state/log.key"}', "ERR_PATH_OUTSIDE", /./],
    ["a path through a link that leaves", "file.read", '{"path":"link/passwd"}', "ERR_PATH_OUTSIDE", /./],
    ["a critical tool outside a protected environment", "service.deploy", "{}", "ERR_FORBIDDEN", /protected/],
  ];
  for (const [name, tool, input, code, message] of refusals) {
    test(`${name}: ${code}, recorded before it is answered, nothing run`, async () => {
      using project = createProject();
      symlinkSync("/etc", join(project.workspace, "link"));
      await using gate = await openGate({
        workingDirectory: project.workspace,
        state: project.state,
        life: "one-shot",
      });
      const result = await gate.call({ tool, input });
      assert.equal(result.error?.code, code);
      assert.match(result.error?.message ?? "", message);
      assert.equal(result.exitCode, null);
      assert.ok(["invalid", "forbidden"].includes(result.outcome));
      assert.deepEqual(await kinds(gate.log, result.call), ["denied"]);
      assert.ok(result.receipt);
    });
  }

  test("an approval that nobody can give here is an obligation unmet, not a wait without end", async () => {
    using project = createProject();
    project.write("callgate.yaml", "version: 1\nenvironment: { name: prod, protected: true }\n");
    project.write("policies/all.cedar", '@id("all") permit (principal, action, resource);\n');
    project.trust();
    await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
    const result = await gate.call({ tool: "service.deploy", input: {} });
    assert.equal(result.outcome, "forbidden");
    assert.equal(result.error?.code, "ERR_OBLIGATION_UNMET");
    assert.equal(result.decision.effect, "ask");
    assert.match(result.error?.message ?? "", /2 approvals/);
  });

  test("a session's last use is spent once, also by calls side by side", async () => {
    using project = createProject();
    project.write("callgate.yaml", "version: 1\nsession: { uses: 3 }\n");
    project.trust();
    await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
    const results = await Promise.all(
      Array.from({ length: 6 }, () => gate.call({ tool: "text.echo", input: { text: "x" } })),
    );
    assert.equal(results.filter((result) => result.outcome === "exited").length, 3);
    assert.deepEqual(
      [
        ...new Set(
          results.filter((result) => result.outcome !== "exited").map((result) => result.error?.code),
        ),
      ],
      ["ERR_CAPABILITY"],
    );
  });
});

describe("the configuration of a cloned repository", () => {
  test("is inert: its tools do not exist until somebody trusts it, nor after a change", async () => {
    using project = createProject();
    project.write("callgate.yaml", "version: 1\n# changed\n");
    await using gate = await openGate({
      workingDirectory: project.workspace,
      state: project.state,
      life: "one-shot",
    });
    assert.equal(
      (await gate.call({ tool: "text.echo", input: { text: "x" } })).error?.code,
      "ERR_TOOL_UNKNOWN",
    );
  });

  test("cannot be written by a tool that may write everything else", async () => {
    using project = createProject();
    await using gate = await openGate({
      workingDirectory: project.workspace,
      state: project.state,
      life: "one-shot",
    });
    const script =
      "echo x >> callgate.yaml; echo x > tools/echo.yaml; rm -f tools/read.yaml; echo fine > new";
    const result = await gate.call({
      tool: "callgate.exec",
      input: new ExecInput({ command: ["sh", "-c", script], write: [project.workspace] }),
    });
    assert.equal(result.outcome, "exited");
    assert.equal(result.exitCode, 0);
    assert.match(result.stderr, /callgate\.yaml: Read-only/);
    await using after = await openGate({
      workingDirectory: project.workspace,
      state: project.state,
      life: "one-shot",
    });
    assert.equal((await after.call({ tool: "text.echo", input: { text: "still" } })).stdout, "still");
  });
});

test("standard input reaches the tool, and too much of it ends the call", async () => {
  using project = createProject();
  await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  const cat = { tool: "callgate.exec", input: new ExecInput({ command: ["cat"] }) };
  const fed = await gate.call(cat, { stdin: Readable.from([Buffer.from("pi"), Buffer.from("ped")]) });
  assert.equal(fed.stdout, "piped");
  const flooded = await gate.call(cat, { stdin: Readable.from([Buffer.alloc(2 << 20)]) });
  assert.equal(flooded.killedBy, "input");
});

describe("output", () => {
  test("json is parsed and held against its schema", async () => {
    using project = createProject();
    await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
    const fits = await gate.call({ tool: "json.make", input: { text: '{"n":1}' } });
    assert.deepEqual(fits.structured, { n: 1 });
    for (const text of ['{"n":"1"}', "not json"]) {
      const misfit = await gate.call({ tool: "json.make", input: { text } });
      assert.equal(misfit.error?.code, "ERR_OUTPUT_SCHEMA");
      assert.equal(misfit.outcome, "exited");
    }
  });

  test("bytes that are not UTF-8 come as base64", async () => {
    using project = createProject();
    await using gate = await openGate({
      workingDirectory: project.workspace,
      state: project.state,
      life: "one-shot",
    });
    const result = await gate.call({
      tool: "callgate.exec",
      input: new ExecInput({ command: ["printf", "\\377\\000"] }),
    });
    assert.equal(result.encoding, "base64");
    assert.deepEqual(Buffer.from(result.stdout, "base64"), Buffer.from([0xff, 0]));
  });
});

test("cancelling before and during a call is an outcome, recorded", async () => {
  using project = createProject();
  await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  for (const signal of [AbortSignal.abort(), AbortSignal.timeout(80)]) {
    const result = await gate.call(
      { tool: "callgate.exec", input: new ExecInput({ command: ["sleep", "30"] }) },
      { signal },
    );
    assert.equal(result.outcome, "killed");
    assert.equal(result.killedBy, "abort");
    assert.deepEqual(await kinds(gate.log, result.call), ["intent", "opened", "outcome"]);
  }
});
