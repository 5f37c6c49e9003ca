import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Desk } from "./cli.fixture.ts";

const TOOL = `name: api.read
description: Reads
tier: medium
input: { type: object, properties: {}, additionalProperties: false }
run: { command: [echo, hello] }
sandbox: { network: { allow: [{ host: api.example.com, credential: api }] } }
`;

function configure(desk: Desk, text: string): void {
  const folder = join(desk.base, "home/.config/callgate");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "credentials.yaml"), text, { mode: 0o600 });
}

describe("trust of a project whose tools name a credential", { concurrency: 4 }, () => {
  it("says that nobody configured it, and trusts nevertheless", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    desk.write("tools/a.yaml", TOOL);
    const { err } = await desk.expect(0, "trust", "--yes");
    assert.match(
      err,
      /✓ trusted .*\n! no credential {2}`api`, which `api\.read` names: say where .*\.config\/callgate\/credentials\.yaml`/,
    );
    assert.deepEqual((await desk.json(0, "trust")).json["unknownCredentials"], ["api"]);
  });

  it("says nothing where it is configured, well or not, and what hinders where the file cannot be read", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    desk.write("tools/a.yaml", TOOL);
    configure(desk, "version: 1\ncredentials: { api: {} }\n");
    assert.doesNotMatch((await desk.expect(0, "trust", "--yes")).err, /no credential/);
    configure(desk, "version: 1\ncredentials: {\n");
    assert.match(
      (await desk.expect(0, "trust")).err,
      /! no credential .*credentials\.yaml` cannot be used, /,
    );
  });
});

describe("trust of a project with authorities", () => {
  it("refuses a file that holds none, at its line", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\negress:\n  authorities: [README.md]\n");
    desk.write("README.md", "# none\n");
    const { err } = await desk.expect(78, "trust", "--yes");
    assert.match(err, /`README\.md` is not a file of PEM.*\n +at +callgate\.yaml:3:17\n +fix /);
  });
});
