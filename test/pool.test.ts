import assert from "node:assert/strict";
import { readdirSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freshSandboxes, pooledSandboxes } from "../src/call-sandbox.ts";
import { digestOf } from "../src/contract/ids.ts";
import type { Tier } from "../src/contract/tier.ts";
import type { Gate, PreparedCall } from "../src/gate.ts";
import { openGate } from "../src/index.ts";
import type { Driver } from "../src/sandbox/driver.ts";
import { findHomes, readCgroupFacts } from "../src/sandbox/limits/detect.ts";
import { createProject } from "./project.fixture.ts";

async function stocked(gate: Gate): Promise<void> {
  for (let tries = 0; (gate.metrics().pool?.waiting ?? 0) === 0 && tries < 400; tries += 1) await sleep(5);
  assert.equal(gate.metrics().pool?.waiting, 1);
}

async function waitedMs(gate: Gate, call: Parameters<Gate["log"]["entriesOfCall"]>[0]): Promise<number> {
  const opened = (await gate.log.entriesOfCall(call)).find(({ entry }) => entry["kind"] === "opened");
  return Number(opened?.entry["waitedMs"]);
}

describe("a gate that lives builds sandboxes ahead", () => {
  test("the second call of a tool gets one, and the record says so", async () => {
    using project = createProject();
    await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
    const first = await gate.call({ tool: "text.echo", input: { text: "one" } });
    assert.equal(await waitedMs(gate, first.call), 0);
    await stocked(gate);
    await sleep(2);
    const second = await gate.call({ tool: "text.echo", input: { text: "two" } });
    assert.equal(second.stdout, "two");
    assert.ok((await waitedMs(gate, second.call)) > 0);
    assert.equal(gate.metrics().pool?.served, 1);
    for (const [name, control] of Object.entries(second.controls ?? {}))
      assert.notEqual(control.evidence, "", name);
  });

  test("a file that is masked and renamed while it waits stops the call, and the next call is built afresh", async () => {
    using project = createProject({
      "callgate.yaml": "version: 1\nsandbox: { hide: [.env] }\n",
      "tools/read.yaml": `name: file.read
description: Read one file of the workspace
tier: low
input:
  type: object
  properties: { path: { type: string } }
  required: [path]
  additionalProperties: false
run: { command: ["cat", "--", "{path}"] }
sandbox: { files: { read: ["\${workspace}"] }, network: none }
`,
      ".env": "SECRET=hunter2\n",
    });
    await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
    assert.equal((await gate.call({ tool: "file.read", input: { path: ".env" } })).stdout, "");
    await stocked(gate);
    renameSync(join(project.workspace, ".env"), join(project.workspace, ".env.old"));
    const stopped = await gate.call({ tool: "file.read", input: { path: ".env.old" } });
    assert.equal(stopped.outcome, "unstarted");
    assert.equal(stopped.error?.code, "ERR_CONTROL_UNAVAILABLE");
    assert.match(stopped.error?.message ?? "", /mounts/);
    renameSync(join(project.workspace, ".env.old"), join(project.workspace, ".env"));
    const next = await gate.call({ tool: "file.read", input: { path: ".env" } });
    assert.deepEqual([next.outcome, next.stdout], ["exited", ""]);
  });

  test("closing the gate leaves no process, pipe or group of those that waited", async () => {
    using project = createProject();
    {
      await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
      await gate.call({ tool: "text.echo", input: { text: "one" } });
      await stocked(gate);
    }
    const pipes = join(project.state, "sandbox");
    for (const folder of readdirSync(pipes).filter((name) => name.startsWith("pipes-")))
      assert.deepEqual(
        readdirSync(join(pipes, folder)).filter((name) => name.startsWith("held-")),
        [],
      );
    // In the folders where groups are made, and no further: other tests take theirs away meanwhile.
    for (const { folder } of Object.values(findHomes(readCgroupFacts())))
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith(`callgate-${process.pid}-`)),
        [],
      );
  });
});

describe("what never waits", () => {
  const driver = (opened: string[]): Driver =>
    ({
      name: "fake",
      open: async () => {
        opened.push("opened");
        return { alive: true, memoryBytes: () => 0, [Symbol.asyncDispose]: async () => {} };
      },
    }) as unknown as Driver;
  const profile = { files: { protect: [] } } as never;
  const prepared = (tier: Tier): PreparedCall =>
    ({ tool: { tier, digest: "sha256:00" }, call: { caller: { kind: "user" } } }) as unknown as PreparedCall;

  for (const [tier, builds] of [
    ["low", 2],
    ["high", 2],
    ["critical", 1],
  ] as const) {
    test(`${tier}: ${builds === 1 ? "only the one for the call" : "one more is built behind the call"}`, async () => {
      const opened: string[] = [];
      await using source = pooledSandboxes(join(tmpdir(), `callgate-pools-${process.pid}`));
      await source.open(driver(opened), profile, digestOf("profile"), prepared(tier));
      source.restock();
      await sleep(1);
      assert.equal(opened.length, builds);
    });
  }

  test("a gate that makes one call has no pool", async () => {
    const opened: string[] = [];
    await using source = freshSandboxes();
    await source.open(driver(opened), profile, digestOf("profile"), prepared("low"));
    source.restock();
    assert.deepEqual([opened.length, source.stats()], [1, null]);
  });
});
