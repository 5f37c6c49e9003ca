import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refuses } from "../config/gate-error.fixture.ts";
import type { GateErrorCode } from "../contract/errors.ts";
import { DEFAULT_LIMITS } from "../contract/profile.ts";
import { parseManifest } from "./manifest.ts";

// biome-ignore lint/suspicious/noTemplateCurlyInString: the manifest's own place
const WORKSPACE = "${workspace}";

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

const parse = (text: string) => parseManifest(text, "t.yaml");

interface Parts {
  readonly head?: string;
  readonly tier?: string;
  readonly properties?: string;
  readonly input?: string;
  readonly run?: string;
  readonly rest?: string;
}

/** A manifest whose parts stand on known lines: 1 name, 2 description, 3 tier, 4 input, 5 run, 6 rest. */
function manifest({
  head,
  tier = "low",
  properties = "",
  input,
  run = "command: [x]",
  rest = "",
}: Parts): string {
  const schema = input ?? `{ type: object, properties: { ${properties} }, additionalProperties: false }`;
  return `${head ?? "name: a"}\ndescription: d\ntier: ${tier}\ninput: ${schema}\nrun: { ${run} }\n${rest}\n`;
}

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
      network: "none",
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
      "sandbox: { limits: { wall: 1m, cpu: 2s, memory: 1GiB, processes: 3, openFiles: 9, fileSize: 1MiB, output: 2KiB, input: 3B, scratch: 4MiB } }";
    assert.deepEqual(parse(manifest({ rest })).sandbox.limits, {
      wallMs: 60_000,
      cpuMs: 2000,
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

type Refused = readonly [
  name: string,
  parts: Parts,
  message: RegExp,
  at: string,
  remedy?: RegExp | undefined,
  code?: GateErrorCode,
];

function each(cases: readonly Refused[], fallback: GateErrorCode = "ERR_CONFIG_INVALID"): void {
  for (const [name, parts, message, at, remedy, code = fallback] of cases) {
    it(`refuses ${name}`, () => {
      const expected = { code, message, at: `t.yaml:${at}` };
      refuses(() => parse(manifest(parts)), remedy === undefined ? expected : { ...expected, remedy });
    });
  }
}

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
    ["no command", { run: "command: []" }, /at least 1 entries/, "5:17"],
    ["artifacts", { rest: "artifacts: []" }, /`artifacts` .* is not in this version/, "6:1", /later version/],
    ["credentials", { rest: "credentials: [x]" }, /`credentials` .* is not in this version/, "6:1"],
    [
      "credentials under sandbox",
      { rest: "sandbox: { credentials: [x] }" },
      /`credentials` .* is not in this version/,
      "6:12",
    ],
    [
      "staged writes",
      { rest: "sandbox: { files: { staged: [x] } }" },
      /`staged` .* is not in this version/,
      "6:21",
    ],
    [
      "a network allow list",
      { rest: "sandbox: { network: { allow: [example.com] } }" },
      /egress by name is not in this version/,
      "6:12",
      /network: none/,
    ],
    [
      "another network",
      { rest: "sandbox: { network: host }" },
      /egress by name is not in this version/,
      "6:12",
    ],
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

describe("the rules of a tier", () => {
  each([
    [
      "writes in the low tier",
      { rest: "sandbox: { files: { write: [out] } }" },
      /tier `low` writes nothing/,
      "6:29",
      /medium/,
    ],
    [
      "too weak an isolation",
      { tier: "critical", rest: "sandbox: { isolation: process }" },
      /weaker than tier `critical`/,
      "6:23",
      /gvisor/,
    ],
    ["a shell in the low tier", { run: "command: [sh, -c, ls]" }, /`sh` runs code/, "3:7", /medium/],
  ]);

  it("takes writes in the medium tier", () => {
    assert.deepEqual(
      parse(manifest({ tier: "medium", rest: "sandbox: { files: { write: [out] } }" })).sandbox.files.write,
      ["out"],
    );
  });

  const shells = [
    "sh -c ls",
    "/bin/bash x.sh",
    "dash",
    "zsh",
    "fish",
    "ksh",
    "busybox ls",
    "env sh",
    "env -i A=b bash -c ls",
    "timeout 5 sh -c ls",
    "xargs sh",
    "node -e 1",
    "node --eval=1",
    "node -pe 1",
    "node22 -e 1",
    "python3 -c 1",
    "python3.12 -Ic 1",
    "perl -ne 1",
    "ruby -e 1",
    "php -r 1",
    "deno eval 1",
    "env python3 -c 1",
    "/usr/bin/env -S node -e 1",
  ];
  for (const command of shells) {
    it(`refuses \`${command}\` in the low tier, and takes it in the medium`, () => {
      const run = `command: ${JSON.stringify(command.split(" "))}`;
      refuses(() => parse(manifest({ run })), {
        code: "ERR_CONFIG_INVALID",
        message: /runs code/,
        at: "t.yaml:3:7",
      });
      assert.ok(parse(manifest({ run, tier: "medium" })));
    });
  }

  it("refuses a command line in one argument in the low tier", () => {
    for (const command of [
      '[env, -S, "rg x"]',
      '["env", "-iS", "rg x"]',
      '[env, "--split-string=rg x"]',
      '[script, -c, "rg x"]',
      "[watch, ls]",
      "[parallel, ls]",
      '[flock, f, -c, "rg x"]',
    ]) {
      refuses(() => parse(manifest({ run: `command: ${command}` })), {
        code: "ERR_CONFIG_INVALID",
        message: /runs code/,
      });
    }
    assert.ok(parse(manifest({ run: "command: [env, A=b, rg, -S, x]" })));
  });

  it("refuses an interpreter that reads its input in the low tier", () => {
    const parts = { properties: "a: { type: string }", run: 'command: [python3, "-"], stdin: "{a}"' };
    refuses(() => parse(manifest(parts)), { code: "ERR_CONFIG_INVALID", message: /`python` runs code/ });
  });

  for (const command of [
    "rg -e x",
    "node script.js",
    "python3 -m http",
    "git log",
    "env rg x",
    "shellcheck x",
  ]) {
    it(`takes \`${command}\` in the low tier`, () => {
      assert.ok(parse(manifest({ run: `command: ${JSON.stringify(command.split(" "))}` })));
    });
  }

  it("refuses a value inside of a script, and takes one that is the script or stands beside it", () => {
    const properties = "a: { type: string }";
    const tier = "medium";
    const inside = (run: string, at: string) =>
      refuses(() => parse(manifest({ properties, tier, run })), {
        code: "ERR_CONFIG_INVALID",
        message: /read as code/,
        at,
        remedy: /"\$1"/,
      });
    inside('command: [sh, -c, "rg {a}"]', "t.yaml:5:26");
    inside('command: [env, bash, -lc, "{a};true"]', "t.yaml:5:34");
    inside('command: [env, -S, "rg {a}"]', "t.yaml:5:27");
    inside('command: [node, "--eval=f({a})"]', "t.yaml:5:24");
    inside('command: [python3, "-cprint({a})"]', "t.yaml:5:27");
    assert.ok(parse(manifest({ properties, tier, run: 'command: [sh, -c, "{a}"]' })));
    assert.ok(parse(manifest({ properties, tier, run: "command: [sh, -c, 'rg \"$1\"', sh, '{a}']" })));
  });
});

describe("the places of a command", () => {
  const properties =
    "path: { type: string }, count: { type: [integer, boolean] }, list: { type: array, items: { type: string } }, map: { type: object, additionalProperties: true }, any: {}, pick: { enum: [a, 1] }, nil: { enum: [a, null] }, ref: { $ref: '#/properties/path' }, deep: { type: array, items: { type: object, additionalProperties: true } }, open: { type: array }, tuple: { type: array, prefixItems: [{ type: string }], minItems: 1, items: false }";

  it("takes scalars and lists of them", () => {
    const run = 'command: [x, "{path}", "n={count}{pick}", "{...list}", "{ref}", "a{{b}}"], stdin: "{path}"';
    assert.ok(parse(manifest({ properties, run })));
  });

  const at = "5:21";
  const command = (place: string) => ({ properties, run: `command: [x, ${JSON.stringify(place)}]` });
  each([
    ["an unknown place", command("{paht}"), /`\{paht\}` names no property/, at, /did you mean `path`/],
    ["a place of the prototype", command("{constructor}"), /names no property/, at, /properties of `input`/],
    ["a list as a scalar", command("{list}"), /needs text, a number or a boolean/, at, /\{\.\.\.list\}/],
    ["an object as a scalar", command("{map}"), /needs text, a number or a boolean/, at],
    ["a value of no type", command("{any}"), /states no type/, at, /`type`/],
    ["a value that may be null", command("{nil}"), /needs text, a number or a boolean/, at],
    ["a scalar as a list", command("{...path}"), /needs a list/, at, /`\{path\}`/],
    ["a list of objects", command("{...deep}"), /needs a list of text/, at],
    ["a list of anything", command("{...open}"), /needs a list of text/, at],
    [
      "a tuple, whose entries each have a schema of their own",
      command("{...tuple}"),
      /needs a list of text/,
      at,
    ],
    ["a list within an argument", command("a{...list}"), /mixes a list with other text/, at, /stands alone/],
    ["a lone brace", command("a{b"), /lone `\{`/, at, /`\{\{`/],
    ["a lone closing brace", command("a}b"), /lone `\}`/, at, /`\}\}`/],
    ["an empty place", command("{}"), /lone `\{`/, at],
    [
      "a program named by the input",
      { properties, run: 'command: ["{path}"]' },
      /never by the input/,
      "5:18",
    ],
    [
      "a program partly named by the input",
      { properties, run: 'command: ["/bin/{path}"]' },
      /never by the input/,
      "5:18",
    ],
    ["an empty program", { run: 'command: [""]' }, /never by the input/, "5:18"],
    [
      "an unknown place on standard input",
      { properties, run: 'command: [x], stdin: "{bdy}"' },
      /names no property/,
      "5:29",
    ],
    [
      "a list on standard input",
      { properties, run: 'command: [x], stdin: "{...list}"' },
      /cannot be spread/,
      "5:29",
    ],
    ["a NUL in an argument", { run: 'command: [x, "a\\0b"]' }, /NUL/, "5:21", undefined, "ERR_CONFIG_SYNTAX"],
  ]);
});

describe("the input schema", () => {
  const object = (more: string) => ({ input: `{ type: object, additionalProperties: false, ${more} }` });
  const property = (schema: string) => ({ properties: `a: ${schema}` });
  each(
    [
      ["another type than object", { input: "{ type: string }" }, /must say `type: object`/, "4:16"],
      ["no type", { input: "{ additionalProperties: false }" }, /must say `type: object`/, "4:8"],
      [
        "an open object",
        { input: "{ type: object }" },
        /leaves other keys open/,
        "4:1",
        /add `additionalProperties: false` under `input`/,
      ],
      [
        "an explicitly open object",
        { input: "{ type: object, additionalProperties: true }" },
        /leaves other keys open/,
        "4:1",
      ],
      [
        "an open object inside",
        property("{ type: object, properties: { b: { type: string } } }"),
        /leaves other keys open/,
        "4:38",
        /additionalProperties: false/,
      ],
      [
        "an unknown keyword",
        property("{ type: string, maxlength: 5 }"),
        /unknown keyword `maxlength`/,
        "4:57",
        /did you mean `maxLength`/,
      ],
      [
        "an async schema, which ajv would answer with a promise",
        object("$async: true"),
        /unknown keyword `\$async`/,
        "4:53",
      ],
      [
        "an identifier, which would change what `$ref` means",
        object("$id: 'https://example.com/'"),
        /unknown keyword `\$id`/,
        "4:53",
      ],
      [
        "an external reference",
        property("{ $ref: 'https://example.com/s.json' }"),
        /`\$ref` leaves the file/,
        "4:43",
        /\$defs/,
      ],
      ["a reference to a file", property("{ $ref: 'other.json#/x' }"), /`\$ref` leaves the file/, "4:43"],
      ["a dynamic reference", property("{ $dynamicRef: 'https://example.com/' }"), /unknown keyword/, "4:43"],
      [
        "another dialect",
        object("$schema: 'http://json-schema.org/draft-07/schema#'"),
        /another dialect/,
        "4:53",
      ],
      [
        "an unknown format",
        property("{ type: string, format: workspace-pth }"),
        /unknown format `workspace-pth`/,
        "4:57",
        /`workspace-path`/,
      ],
      ["a reference to nowhere", property("{ $ref: '#/$defs/no' }"), /cannot be used/, "4:1"],
      [
        "an invalid pattern",
        property("{ type: string, pattern: '(' }"),
        /`pattern` is not a regular expression/,
        "4:57",
      ],
      [
        "a value that does not fit its keyword",
        property("{ type: string, maxLength: -1 }"),
        /does not fit JSON Schema/,
        "4:68",
      ],
      ["an unknown type", property("{ type: text }"), /does not fit JSON Schema/, "4:49"],
      ["a required property there is none of", object("required: [b]"), /cannot be used: strict mode/, "4:1"],
    ],
    "ERR_TOOL_SCHEMA",
  );

  it("takes local references, conditions, and objects that say they are open", () => {
    const input =
      "{ type: object, unevaluatedProperties: false, $defs: { p: { type: string } }, properties: { a: { $ref: '#/$defs/p' }, m: { type: object, properties: { x: { type: string } }, additionalProperties: { type: string } } }, allOf: [{ properties: { a: { maxLength: 5, type: string } } }] }";
    assert.ok(parse(manifest({ input })));
  });

  it("knows the formats of paths and artifacts", () => {
    assert.ok(
      parse(
        manifest({
          properties: "a: { type: string, format: workspace-path }, b: { type: string, format: artifact }",
        }),
      ),
    );
  });

  it("checks an output schema the same way, but leaves it open", () => {
    const rest = (schema: string) => ({ rest: `output: json\noutputSchema: ${schema}` });
    assert.ok(parse(manifest(rest("{ type: object, properties: { a: { type: string } } }"))));
    const expected = {
      code: "ERR_TOOL_SCHEMA",
      message: /unknown keyword `typ`/,
      at: "t.yaml:7:17",
    } as const;
    refuses(() => parse(manifest(rest("{ typ: object }"))), expected);
  });
});
