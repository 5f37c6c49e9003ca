import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { snapshotProject } from "../src/config/snapshot.ts";
import { trustProject } from "../src/config/trust.ts";
import { ROOT_STANDS_BACK } from "../src/sandbox/user.ts";

/** A project and a state folder of their own, for one test; gone when it is disposed. */
export interface TestProject extends Disposable {
  readonly workspace: string;
  readonly state: string;
  write(path: string, text: string): void;
  /** Pins what is there now. */
  trust(): void;
}

const MANIFESTS: Readonly<Record<string, string>> = {
  "callgate.yaml": "version: 1\n",
  "tools/echo.yaml": `name: text.echo
description: Say a text
tier: low
input:
  type: object
  properties: { text: { type: string, maxLength: 100 }, times: { type: integer, minimum: 1, maximum: 9 } }
  required: [text]
  additionalProperties: false
run: { command: ["printf", "%s", "{text}"], allowLeadingDash: true }
sandbox: { files: { read: ["\${workspace}"] }, network: none }
`,
  "tools/read.yaml": `name: file.read
description: Read one file of the workspace
tier: low
input:
  type: object
  properties: { path: { type: string, format: workspace-path } }
  required: [path]
  additionalProperties: false
run: { command: ["cat", "--", "{path}"] }
sandbox: { files: { read: ["\${workspace}"] }, network: none }
`,
  "tools/deploy.yaml": `name: service.deploy
description: Deploy
tier: critical
categories: [deployment]
input: { type: object, properties: {}, additionalProperties: false }
run: { command: ["true"] }
sandbox: { files: { read: ["\${workspace}"] }, network: none }
`,
  "tools/json.yaml": `name: json.make
description: Make JSON
tier: low
input: { type: object, properties: { text: { type: string } }, required: [text], additionalProperties: false }
run: { command: ["printf", "%s", "{text}"], allowLeadingDash: true }
output: json
outputSchema: { type: object, properties: { n: { type: integer } }, required: [n], additionalProperties: false }
sandbox: { files: { read: ["\${workspace}"] }, network: none }
`,
};

export function createProject(files: Readonly<Record<string, string>> = MANIFESTS): TestProject {
  const base = mkdtempSync(join(tmpdir(), "callgate-project-"));
  const workspace = join(base, "workspace");
  const project: TestProject = {
    workspace,
    state: join(base, "state"),
    write: (path, text) => {
      mkdirSync(dirname(join(workspace, path)), { recursive: true });
      writeFileSync(join(workspace, path), text);
      for (let made = join(workspace, path); made !== base; made = dirname(made)) giveAway(made);
    },
    trust: () => {
      mkdirSync(project.state, { recursive: true, mode: 0o700 });
      trustProject(snapshotProject(workspace, "callgate.yaml"), project.state);
    },
    [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }),
  };
  mkdirSync(workspace);
  for (const path of [base, workspace]) giveAway(path);
  for (const [path, text] of Object.entries(files)) project.write(path, text);
  if ("callgate.yaml" in files) project.trust();
  return project;
}

/** A root test's workspace belongs to whoever its sandboxes run as, as an ordinary user's does. */
function giveAway(path: string): void {
  if (process.geteuid?.() === 0) chownSync(path, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
}
