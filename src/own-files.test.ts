import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { createProject } from "../test/project.fixture.ts";
import { loadProject } from "./load-project.ts";
import { ownFiles } from "./own-files.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

test("whatever a trusted project's gate goes by is protected from its tools", async () => {
  using project = createProject({
    "callgate.yaml": "version: 1\ncatalog: [t.yaml]\negress: { authorities: [certs/ca.pem] }\n",
    "certs/ca.pem": PEM,
    "policies/a.cedar": "permit (principal, action, resource);\n",
    "t.yaml":
      'name: a.b\ndescription: d\ntier: low\ninput: { type: object, additionalProperties: false }\nrun: { command: ["true"] }\nsandbox: { files: {}, network: none }\n',
  });
  project.trust();
  const { workspace, state } = project;
  const loaded = await loadProject({ workingDirectory: workspace, state });
  const { protected: all } = ownFiles(loaded.paths, loaded.project);
  for (const path of [
    "callgate.yaml",
    "callgate.lock",
    "t.yaml",
    "policies",
    "policies/a.cedar",
    "certs/ca.pem",
  ])
    assert.ok(all.includes(join(workspace, path)), path);
});
