import assert from "node:assert/strict";
import { it } from "node:test";
import { Desk } from "./cli.fixture.ts";
import { exitedAs } from "./report.ts";

it("policy check reports every error, not the first alone", async (test) => {
  const desk = new Desk(test);
  desk.write("callgate.yaml", "version: 1\n");
  desk.write("policies/a.cedar", '@id("a") permit (principal, action == Action::"nosuch", resource);\n');
  desk.write("policies/b.cedar", '@id("b") permit (principal, action, resource) when { context.nosuch };\n');
  const { err } = await desk.expect(78, "policy", "check");
  assert.match(err, /policies\/a\.cedar:1:1[\s\S]*policies\/b\.cedar:1:/);
  const { json } = await desk.json(78, "policy", "check");
  const { code, also } = json["error"] as { code: string; also: { code: string; place: string }[] };
  assert.deepEqual([code, also.length, also[0]?.code], ["ERR_POLICY_INVALID", 1, "ERR_POLICY_INVALID"]);
  assert.match(also[0]?.place ?? "", /^policies\/b\.cedar:1:/);
});

it("says why a tool is not there: no configuration, no trust, no manifest", async (test) => {
  const desk = new Desk(test);
  const fix = async (): Promise<string> => (await desk.expect(64, "run", "notes.count", "--input", "{}")).err;
  assert.match(await fix(), /fix +there is no `callgate\.yaml` in .*`callgate init`/);
  desk.write("callgate.yaml", "version: 1\n");
  assert.match(await fix(), /fix +this project is not trusted, .*`callgate trust`/);
  await desk.expect(0, "trust", "--yes");
  assert.match(await fix(), /fix +this project's configuration names no tools/);
});

it("a number of processors that is none is told as it was written", async (test) => {
  const desk = new Desk(test);
  for (const text of ["0", "0.001", "0.0155", ".5", "1025", "99999", "two", "-1"]) {
    const { err } = await desk.expect(64, "exec", `--cpus=${text}`, "--", "true");
    assert.ok(
      err.includes(
        `\`--cpus ${text}\` is not a number of processors from 0.01 to 1024 with at most three decimals`,
      ),
      err,
    );
  }
});

it("what is no call id is told where to find one", async (test) => {
  const desk = new Desk(test);
  await desk.expect(0, "exec", "--", "true");
  for (const args of [
    ["why", "nope"],
    ["log", "receipt", "nope"],
  ])
    assert.match((await desk.expect(64, ...args)).err, /`nope` is not a call id\n +fix +`callgate log show`/);
});

it("a command whose changes are refused did not simply run", async (test) => {
  const desk = new Desk(test);
  desk.write(".github/kept", "");
  const { err } = await desk.expect(
    77,
    ...["exec", "--write", ".", "--staged", "--", "sh", "-c", "echo x > .github/y"],
  );
  assert.match(err, /^✗ not applied {2}callgate\.exec/);
  assert.match(err, /but +nothing was applied: `.*\.github/);
  const { out } = await desk.expect(0, "why");
  assert.match(
    out,
    /^✗ not applied {2}callgate\.exec\n.*exited 0.*\n +why +nothing was applied: `.*\.github/,
  );
});

it("changes are headed by what became of them, whatever kept them", () => {
  for (const state of ["refused", "conflict", "failed"] as const)
    assert.deepEqual(exitedAs(0, state), ["red", "✗ not applied"]);
  assert.deepEqual(exitedAs(0, "applied"), ["green", "✓ ran"]);
  assert.deepEqual(exitedAs(0, undefined), ["green", "✓ ran"]);
  assert.deepEqual(exitedAs(3, "discarded"), ["yellow", "! exit 3"]);
});
