import assert from "node:assert/strict";
import { it } from "node:test";
import { Desk } from "./cli.fixture.ts";

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
