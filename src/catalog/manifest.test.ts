import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_LIMITS } from "../contract/profile.ts";
import { each, manifest, parse, WORKSPACE } from "./manifest.fixture.ts";

/** The manifest of interface.md, word for word. */
const REPO_SEARCH = `name: repo.search
description: Search the repository for a regular expression
tier: low                       # low | medium | high | critical
categories: [analysis]          # policies address groups of tools by these
input:                          # JSON Schema 2020-12
  type: object
  properties:
    pattern: { type: string, maxLength: 500 }
    path: { type: string, format: workspace-path, default: "." }
  required: [pattern]
  additionalProperties: false
run:
  command: ["rg", "--line-number", "--", "{pattern}", "{path}"]
sandbox:
  files: { read: ["\${workspace}"] }
  network: none
  limits: { wall: 30s, memory: 512MiB, processes: 32, output: 1MiB }
`;

describe("parseManifest", () => {
  it("reads the example of the interface", () => {
    const tool = parse(REPO_SEARCH);
    assert.equal(tool.name, "repo.search");
    assert.deepEqual(tool.run, {
      command: ["rg", "--line-number", "--", "{pattern}", "{path}"],
      allowLeadingDash: false,
      environment: {},
    });
    assert.deepEqual(tool.sandbox, {
      files: { read: [WORKSPACE], write: [], hide: [] },
      network: { mode: "none" },
      limits: { ...DEFAULT_LIMITS, processes: 32 },
    });
    assert.match(tool.digest, /^sha256:[0-9a-f]{64}$/);
  });

  it("freezes the tool to its leaves", () => {
    const tool = parse(REPO_SEARCH);
    assert.ok(
      Object.isFrozen(tool) && Object.isFrozen(tool.run.command) && Object.isFrozen(tool.input["properties"]),
    );
  });

  it("gives the same digest whatever the order of keys and the comments", () => {
    const moved = REPO_SEARCH.replace(/#.*$/gm, "")
      .replace("tier: low", "")
      .replace("sandbox:\n", "tier: low\nsandbox:\n");
    assert.equal(parse(moved).digest, parse(REPO_SEARCH).digest);
  });

  it("gives another digest for anything that counts", () => {
    const { digest } = parse(REPO_SEARCH);
    const changes: readonly [from: string, to: string][] = [
      ["regular expression", "regular  expression"],
      ["tier: low", "tier: medium"],
      ["[analysis]", "[]"],
      ["maxLength: 500", "maxLength: 501"],
      ['"--",', ""],
      ["wall: 30s", "wall: 31s"],
      ["read: [", "hide: ["],
      ["name: repo.search", "name: repo.find"],
    ];
    for (const [from, to] of changes)
      assert.notEqual(parse(REPO_SEARCH.replace(from, to)).digest, digest, to);
  });

  it("reads every limit with its unit", () => {
    const rest =
      "sandbox: { limits: { wall: 1m, cpu: 2s, cpus: 0.5, memory: 1GiB, processes: 3, openFiles: 9, fileSize: 1MiB, output: 2KiB, input: 3B, scratch: 4MiB } }";
    assert.deepEqual(parse(manifest({ rest })).sandbox.limits, {
      wallMs: 60_000,
      cpuMs: 2000,
      cpusMilli: 500,
      memoryBytes: 2 ** 30,
      processes: 3,
      openFiles: 9,
      fileSizeBytes: 2 ** 20,
      outputBytes: 2048,
      inputBytes: 3,
      scratchBytes: 4 * 2 ** 20,
    });
  });

  it("reads what else a manifest may say", () => {
    const tool = parse(
      manifest({
        tier: "critical",
        properties: "body: { type: string }, files: { type: array, items: { type: string } }",
        run: 'command: [sh, -c, "{body}", "{...files}"], stdin: "{body}", allowLeadingDash: true, environment: { A: b }',
        rest: "output: json\noutputSchema: { type: object, properties: { n: { type: integer } } }\nsandbox: { isolation: microvm, files: { write: [out] } }\ncalls: [a]",
      }),
    );
    assert.equal(tool.output, "json");
    assert.deepEqual(tool.outputSchema, { type: "object", properties: { n: { type: "integer" } } });
    assert.equal(tool.sandbox.isolation, "microvm");
    assert.deepEqual(tool.run.environment, { A: "b" });
    assert.deepEqual(tool.calls, ["a"]);
  });
});

describe("the form of a manifest", () => {
  each([
    [
      "an unknown key",
      { rest: "categorys: [x]" },
      /unknown key `categorys`/,
      "6:1",
      /did you mean `categories`/,
    ],
    [
      "an unknown key of limits",
      { rest: "sandbox: { limits: { timeout: 1s } }" },
      /unknown key `timeout`/,
      "6:22",
      /`wall`/,
    ],
    ["a name in capitals", { head: "name: Repo" }, /`Repo` is not a tool name/, "1:7", /lower-case words/],
    ["a built-in name", { head: "name: callgate.exec" }, /are built in/, "1:7", /another name/],
    ["an unknown tier", { tier: "hihg" }, /`tier` must be one of/, "3:7", /did you mean `high`/],
    ["a size without a unit", { rest: "sandbox: { limits: { memory: 512 } }" }, /must be text/, "6:30"],
    [
      "a decimal size",
      { rest: "sandbox: { limits: { memory: 512MB } }" },
      /`MB` is not a unit/,
      "6:30",
      /MiB/,
    ],
    [
      "a duration without a unit",
      { rest: 'sandbox: { limits: { wall: "30" } }' },
      /not a number with a unit/,
      "6:28",
      /`30s`/,
    ],
    ["no processes", { rest: "sandbox: { limits: { processes: 0 } }" }, /at least 1/, "6:33"],
    ["`shell: true`", { rest: "shell: true" }, /there is no `shell: true`/, "6:1", /tier: medium/],
    ["`shell: true` under run", { run: "shell: true, command: [x]" }, /there is no `shell: true`/, "5:8"],
    ["a command as a line", { run: "command: rg x" }, /`run.command` must be a list/, "5:17"],
    ["no command", { run: "command: []" }, /at least 1 entry/, "5:17"],
    ["artifacts", { rest: "artifacts: []" }, /`artifacts` .* is not in this version/, "6:1", /later version/],
    ["credentials", { rest: "credentials: [x]" }, /named by the rule of the host/, "6:1", /credential: NAME/],
    [
      "credentials under sandbox",
      { rest: "sandbox: { credentials: [x] }" },
      /named by the rule of the host/,
      "6:12",
    ],
    [
      "staged writes of nothing",
      { rest: "sandbox: { files: { staged: true } }" },
      /`staged` has no meaning without `write`/,
      "6:21",
    ],
    ["an empty allow list", { rest: "sandbox: { network: { allow: [] } }" }, /at least 1 entry/, "6:30"],
    ["another network", { rest: "sandbox: { network: host }" }, /`sandbox.network`/, "6:21"],
    ["allowLeadingDash in the wrong place", { rest: "allowLeadingDash: true" }, /stands under `run`/, "6:1"],
    [
      "a variable with a bad name",
      { run: 'command: [x], environment: { "A=B": c }' },
      /not allowed as a key/,
      "5:37",
    ],
    [
      "a path with `..`",
      { rest: "sandbox: { files: { read: [a/../../b] } }" },
      /holds `\.\.`/,
      "6:28",
      /workspace/,
    ],
    [
      "a path out of the workspace",
      { rest: `sandbox: { files: { read: ["${WORKSPACE}/../b"] } }` },
      /holds `\.\.`/,
      "6:28",
    ],
    [
      "a sibling of the workspace",
      { rest: `sandbox: { files: { read: ["${WORKSPACE}x"] } }` },
      /runs on after/,
      "6:28",
    ],
    ["a home path", { rest: "sandbox: { files: { hide: [~/x] } }" }, /not expanded/, "6:28"],
    [
      "a place in a path",
      { rest: 'sandbox: { files: { read: ["{path}"] } }' },
      /a path here is literal/,
      "6:28",
    ],
    [
      "another variable in a path",
      { rest: 'sandbox: { files: { read: ["$HOME/x"] } }' },
      /a path here is literal/,
      "6:28",
    ],
    [
      "a wildcard in a path",
      { rest: 'sandbox: { files: { read: ["src/*"] } }' },
      /a path here is literal/,
      "6:28",
    ],
    [
      "an output schema for text",
      { rest: "outputSchema: { type: object }" },
      /no meaning for text/,
      "6:1",
      /output: json/,
    ],
    ["a duplicate key", { rest: "tier: high" }, /appears twice/, "6:1", undefined, "ERR_CONFIG_SYNTAX"],
  ]);
});
