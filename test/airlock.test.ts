import assert from "node:assert/strict";
import { test } from "node:test";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { openGate } from "../src/open-gate.ts";
import { CellSandbox } from "../src/sandbox/cell.ts";
import { createProject } from "./project.fixture.ts";

test("a control that the kernel does not show ends the call before anything runs", async (context) => {
  using project = createProject({});
  const inspect = CellSandbox.prototype.inspect;
  context.mock.method(CellSandbox.prototype, "inspect", async function (this: CellSandbox) {
    const controls = await inspect.call(this);
    return { ...controls, seccomp: { state: "unavailable", basis: "verified", evidence: "mode 0" } as const };
  });
  const release = context.mock.method(CellSandbox.prototype, "release");
  await using gate = await openGate({
    workingDirectory: project.workspace,
    state: project.state,
    life: "one-shot",
  });
  const result = await gate.call({ tool: "callgate.exec", input: new ExecInput({ command: ["true"] }) });
  assert.equal(result.outcome, "unstarted");
  assert.equal(result.error?.code, "ERR_CONTROL_UNAVAILABLE");
  assert.match(result.error?.message ?? "", /seccomp \(mode 0\)/);
  assert.equal(release.mock.callCount(), 0);
  assert.deepEqual(
    (await gate.log.entriesOfCall(result.call)).map(({ entry }) => entry["kind"]),
    ["denied"],
  );
});
