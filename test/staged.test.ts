import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { type CallResult, ExecInput, openGate } from "../src/index.ts";
import { createProject, type TestProject } from "./project.fixture.ts";

const MANIFEST = `name: tree.change
description: Run a script on a private copy
tier: medium
input: { type: object, properties: { script: { type: string } }, required: [script], additionalProperties: false }
run: { command: ["sh", "-c", "{script}"] }
sandbox: { files: { read: ["."], write: ["tree"], staged: true }, network: none }
`;
const POLICY = `@id("any") permit (principal, action, resource);\n`;

function makeProject(): TestProject {
  return createProject({
    "callgate.yaml": "version: 1\n",
    "tools/change.yaml": MANIFEST,
    "policies/any.cedar": POLICY,
    "tree/edit.txt": "before\n",
    "tree/gone.txt": "gone\n",
    "tree/old/file.txt": "old\n",
  });
}

interface Called {
  readonly result: CallResult;
  /** What the outcome in the record says of them. */
  readonly recorded: unknown;
}

async function call(project: TestProject, script: string, ready?: () => void): Promise<Called> {
  const places = { workingDirectory: project.workspace, state: project.state };
  await using gate = await openGate({ ...places, life: "one-shot" });
  const stdin = new PassThrough();
  const onOutput = (): void => {
    ready?.();
    stdin.end("go\n");
  };
  const result = await gate.call({ tool: "tree.change", input: { script } }, { stdin, onOutput });
  stdin.destroy();
  const entries = await gate.log.entriesOfCall(result.call);
  const outcome = entries.find(({ entry }) => entry["kind"] === "outcome")?.entry;
  return { result, recorded: outcome?.["changes"] };
}

const WORK =
  "cd tree && echo after > edit.txt && rm gone.txt && rm -r old && mkdir new && echo made > new/file.txt";

describe("a tool with staged writes", () => {
  test("what it did is in the tree, in the result and in the record, and whole or not at all", async () => {
    using project = makeProject();
    const at = (path: string): string => join(project.workspace, "tree", path);
    let during: readonly string[] = [];
    const { result, recorded } = await call(project, `${WORK}; echo done; read go`, () => {
      during = readdirSync(at("."));
    });
    assert.equal(result.error, null);
    assert.equal(result.changes?.state, "applied");
    assert.deepEqual(during, ["edit.txt", "gone.txt", "old"]);
    assert.deepEqual(readdirSync(at(".")).sort(), ["edit.txt", "new"]);
    assert.equal(readFileSync(at("edit.txt"), "utf8"), "after\n");
    assert.equal(statSync(at("new/file.txt")).uid, statSync(at("edit.txt")).uid);
    assert.deepEqual(recorded, JSON.parse(JSON.stringify(result.changes)));
    assert.deepEqual(
      result.changes?.paths.map(({ path, change }) => [change, path.slice(at(".").length + 1)]),
      [
        ["changed", "edit.txt"],
        ["added", "new"],
        ["added", "new/file.txt"],
        ["deleted", "gone.txt"],
        ["deleted", "old"],
        ["deleted", "old/file.txt"],
      ],
    );
    assert.equal(result.controls?.mounts.state, "enforced");
    assert.deepEqual(readdirSync(join(project.state, "sandbox/staged")), ["notes"]);
  });

  test("where it fails the tree is untouched, and what it did is told", async () => {
    using project = makeProject();
    const { result, recorded } = await call(project, `${WORK}; exit 3`);
    assert.equal(result.exitCode, 3);
    assert.equal(result.error, null);
    assert.equal(result.changes?.state, "discarded");
    assert.equal(result.changes?.count, 6);
    assert.equal(Object(recorded).state, "discarded");
    assert.deepEqual(readdirSync(join(project.workspace, "tree")), ["edit.txt", "gone.txt", "old"]);
  });

  test("where one change may not be made none is, with an error that names it", async () => {
    using project = makeProject();
    const { result, recorded } = await call(project, `${WORK}; mkdir -p .github; echo x > .github/ci.yml`);
    assert.equal(result.exitCode, 0);
    assert.equal(result.error?.code, "ERR_CHANGES_REFUSED");
    assert.match(result.error?.message ?? "", /tree\/\.github. is protected/);
    assert.equal(Object(recorded).state, "refused");
    assert.deepEqual(readdirSync(join(project.workspace, "tree")), ["edit.txt", "gone.txt", "old"]);
  });

  test("where the tree changed meanwhile none is made", async () => {
    using project = makeProject();
    const path = join(project.workspace, "tree/edit.txt");
    const { result } = await call(project, `${WORK}; echo done; read go`, () =>
      writeFileSync(path, "mine\n"),
    );
    assert.equal(result.error?.code, "ERR_CHANGES_CONFLICT");
    assert.equal(readFileSync(path, "utf8"), "mine\n");
    assert.ok(existsSync(join(project.workspace, "tree/gone.txt")));
  });

  test("what it reads beside its tree is the tree itself, and it writes nowhere else", async () => {
    using project = makeProject();
    const { result } = await call(project, "cat tree/edit.txt; echo x > elsewhere || echo kept");
    assert.equal(result.stdout, "before\nkept\n");
    assert.equal(result.changes?.count, 0);
    assert.equal(result.changes?.state, "applied");
  });
});

test("exec stages what it is told to", async () => {
  using project = makeProject();
  const places = { workingDirectory: project.workspace, state: project.state };
  await using gate = await openGate({ ...places, life: "one-shot" });
  const run = async (script: string): Promise<CallResult> => {
    const request = { command: ["sh", "-c", script], write: ["tree"], staged: true };
    const input = new ExecInput({ ...request, workingDirectory: project.workspace });
    return await gate.call({ tool: "callgate.exec", input });
  };
  assert.equal((await run("echo x > tree/failed; exit 1")).changes?.state, "discarded");
  assert.equal((await run("echo x > tree/made")).changes?.state, "applied");
  assert.deepEqual(readdirSync(join(project.workspace, "tree")), ["edit.txt", "gone.txt", "made", "old"]);
});

describe("the record decides what becomes of a call whose gateway was killed", () => {
  test("without an outcome its changes are taken back at the next start", async () => {
    using project = makeProject();
    await call(project, "true");
    const made = plant(project, "01890a5d-ac96-774b-bcce-b302099a8057");
    await call(project, "true");
    assert.ok(!existsSync(made));
    assert.deepEqual(readdirSync(join(project.state, "sandbox/staged")), ["notes"]);
  });

  test("with one that says so they stay", async () => {
    using project = makeProject();
    const { result } = await call(project, "true");
    assert.equal(result.changes?.state, "applied");
    const made = plant(project, result.call);
    await call(project, "true");
    assert.ok(existsSync(made));
    assert.deepEqual(readdirSync(join(project.state, "sandbox/staged")), ["notes"]);
  });
});

/** What a gateway of an earlier boot leaves that was killed after it had put one file into the tree. */
function plant(project: TestProject, id: string): string {
  const folder = join(project.state, "sandbox/staged");
  const root = join(project.workspace, "tree");
  const made = join(root, "made.txt");
  const name = "0123456789abcdef";
  mkdirSync(join(folder, name));
  writeFileSync(made, "");
  const { dev, ino } = statSync(made);
  const unit = { root, steps: [], name: "made.txt", puts: true, takes: false, inode: `${dev}:${ino}` };
  writeFileSync(
    join(folder, name, "journal.json"),
    JSON.stringify({ id: name, phase: "swapping", units: [unit] }),
  );
  const owner = { boot: "another", namespace: "", pid: 1, startTicks: "0" };
  writeFileSync(join(folder, "notes/1-0.json"), JSON.stringify({ owner, about: { call: id, name } }));
  return made;
}
