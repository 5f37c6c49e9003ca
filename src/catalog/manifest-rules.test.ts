import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refuses } from "../config/gate-error.fixture.ts";
import { each, manifest, parse } from "./manifest.fixture.ts";

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

  it("takes staged writes, and a digest tells them from others", () => {
    const direct = parse(manifest({ tier: "medium", rest: "sandbox: { files: { write: [out] } }" }));
    const staged = parse(
      manifest({ tier: "medium", rest: "sandbox: { files: { write: [out], staged: true } }" }),
    );
    assert.equal(staged.sandbox.files.staged, true);
    assert.notEqual(staged.digest, direct.digest);
  });

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
