import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ExecInput, type ExecRequest } from "../src/catalog/exec-input.ts";
import type { JsonObject } from "../src/contract/json.ts";
import type { CallResult } from "../src/contract/result.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import { nativeProgram } from "../src/sandbox/native.ts";
import { createProject, type TestProject } from "./project.fixture.ts";

const skip = nativeProgram("guard") === undefined ? "native/guard.c was not built" : false;

interface Bench extends AsyncDisposable {
  readonly project: TestProject;
  readonly gate: Gate;
}

async function openBench(): Promise<Bench> {
  const project = createProject({ "callgate.yaml": "version: 1\n", "a.txt": "old\n" });
  const gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  return {
    project,
    gate,
    async [Symbol.asyncDispose]() {
      await gate[Symbol.asyncDispose]();
      project[Symbol.dispose]();
    },
  };
}

async function run(
  { gate, project }: Bench,
  script: string,
  more: Partial<ExecRequest>,
): Promise<CallResult> {
  const { workspace } = project;
  const asked = { workingDirectory: workspace, write: [workspace], command: ["/bin/bash", "-c", script] };
  return await gate.call({ tool: "callgate.exec", input: new ExecInput({ ...asked, ...more }) });
}

/** Names that were refused. */
const asked = (entries: readonly JsonObject[]): number =>
  entries.filter(({ kind, fact }) => kind === "egress" && JSON.stringify(fact).includes('"dns"')).length;

async function recorded({ gate }: Bench): Promise<readonly JsonObject[]> {
  const call = await gate.log.lastCall();
  return call === undefined ? [] : (await gate.log.entriesOfCall(call)).map(({ entry }) => entry);
}

/** Asks for that many names that no rule has. */
const ASKS = (count: number): string =>
  `perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(PeerAddr => "198.18.0.1:53", Proto => "udp");
    for (1 .. ${count}) { my $q = "n$_"; $s->send(pack("n6", 1, 0x100, 1, 0, 0, 0) . chr(length $q) . $q . "\\4evil\\0" . pack("n2", 1, 1)); $s->recv(my $b, 500) }'`;

describe("the record of a call with a network", { skip }, () => {
  test("is read to its end, however much happened before", async () => {
    await using bench = await openBench();
    const result = await run(bench, `echo new > a.txt; ${ASKS(1_200)}`, { hosts: ["b.test"], staged: true });
    assert.equal(result.changes?.state, "applied");
    const entries = await recorded(bench);
    assert.ok(entries.length > 1_000);
    assert.equal(entries.at(-1)?.["kind"], "outcome");
    assert.equal(asked(entries), 1_001, "refused names have a bound, and one entry more says so");
  });

  test("keeps what was asked for in the last moment with the call that did, and with no other", async () => {
    await using bench = await openBench();
    await run(bench, ASKS(100).replace("$s->recv(my $b, 500)", ""), { hosts: ["b.test"] });
    assert.equal(asked(await recorded(bench)), 100);
    await run(bench, "true", { hosts: ["b.test"] });
    assert.equal(asked(await recorded(bench)), 0);
  });

  test("decides about changes, also where another entry could not be written", async (t) => {
    await using bench = await openBench();
    const append = bench.gate.log.append.bind(bench.gate.log);
    t.mock.method(bench.gate.log, "append", async (...[drafts, options]: Parameters<typeof append>) => {
      if (drafts[0]?.record.kind === "egress") throw new Error("disk full, once");
      return await append(drafts, options);
    });
    const script = "echo new > a.txt; getent hosts evil.test; true";
    await assert.rejects(run(bench, script, { hosts: ["b.test"], staged: true }), /disk full, once/);
    const outcome = (await recorded(bench)).find(({ kind }) => kind === "outcome");
    assert.match(JSON.stringify(outcome), /"state":"applied"/);
    assert.equal(readFileSync(join(bench.project.workspace, "a.txt"), "utf8"), "new\n");
  });

  test("has an outcome whatever a learning run comes across", async () => {
    await using bench = await openBench();
    const script = "ln -s /proc/self/fd/3 link; ln -s loop loop; cat loop; getent hosts evil.test; true";
    const result = await run(bench, script, { observe: "refuse" });
    assert.equal(result.outcome, "exited");
    const kinds = (await recorded(bench)).map(({ kind }) => kind);
    assert.deepEqual([kinds.at(-1), kinds.includes("egress")], ["outcome", true]);
    assert.doesNotMatch(JSON.stringify(result.learned), /a fault of the gate/);
  });

  test("has an outcome although what was used cannot be told", async (t) => {
    await using bench = await openBench();
    const { execPath } = process;
    t.after(() => Object.assign(process, { execPath }));
    const asked = new ExecInput({
      workingDirectory: bench.project.workspace,
      command: ["/bin/bash", "-c", "getent hosts evil.test; echo done"],
      observe: "refuse",
    });
    // The Node that is proposed is gone by the time that the run has ended.
    const onOutput = (): unknown => Object.assign(process, { execPath: "/nonexistent/node" });
    const result = await bench.gate.call({ tool: "callgate.exec", input: asked }, { onOutput });
    assert.match(JSON.stringify(result.learned), /cannot be told: a fault of the gate/);
    const kinds = (await recorded(bench)).map(({ kind }) => kind);
    assert.deepEqual([kinds.at(-1), kinds.includes("egress")], ["outcome", true]);
  });
});
