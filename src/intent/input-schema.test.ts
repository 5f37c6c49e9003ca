import assert from "node:assert/strict";
import { test } from "node:test";
import { GateError } from "../contract/errors.ts";
import type { JsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import { createInputValidator, type InputResult } from "./input-schema.ts";
import { linkFacts, makeTool, SEARCH, type ToolParts } from "./intent.fixture.ts";

const validator = await createInputValidator();
const FACTS = linkFacts({ "/work/out": "/etc" });

function check(tool: Tool, input: JsonObject): InputResult {
  return validator.validate(tool, input, FACTS);
}

/** The input that goes on, or the code and pointer. */
function outcome(parts: ToolParts, input: JsonObject): unknown {
  const result = check(makeTool("t", parts), input);
  return result.ok ? result.input : `${result.code} ${result.pointer}`;
}

function refusedAtLoad(schema: JsonObject, message: RegExp): void {
  assert.throws(
    () => validator.load(makeTool("t", { schema })),
    (error) => error instanceof GateError && error.code === "ERR_TOOL_SCHEMA" && message.test(error.message),
    JSON.stringify(schema),
  );
}

test("input that fits goes on with defaults, frozen, and the given one is left alone", () => {
  const given = { pattern: "x" };
  const result = check(SEARCH, given);
  assert.deepEqual(result, { ok: true, input: { pattern: "x", path: "." } });
  assert.ok(result.ok && Object.isFrozen(result.input));
  assert.deepEqual(given, { pattern: "x" });
});

test("input that does not fit names the place and what to do", () => {
  assert.deepEqual(check(SEARCH, { pattern: "x", pth: "a" }), {
    ok: false,
    code: "ERR_INPUT_SCHEMA",
    pointer: "/pth",
    message: "input has no property `pth`",
    remedy: "did you mean `path`?",
  });
  const missing = check(SEARCH, {});
  assert.ok(!missing.ok && missing.pointer === "/pattern");
  assert.equal(
    outcome({ properties: { a: { type: "array", items: { type: "integer" } } } }, { a: [1, "2"] }),
    "ERR_INPUT_SCHEMA /a/1",
  );
  const choice = check(
    makeTool("t", { properties: { "a/b": { type: "string", enum: ["alpha", "beta"] } } }),
    { "a/b": "alfa" },
  );
  assert.deepEqual(choice.ok ? {} : [choice.pointer, choice.remedy], ["/a~1b", "did you mean `alpha`?"]);
});

test("what objects inherit is no property", () => {
  assert.equal(
    outcome({ required: ["constructor"], properties: { constructor: { type: "string" } } }, {}),
    "ERR_INPUT_SCHEMA /constructor",
  );
  assert.deepEqual(outcome({ properties: { toString: { type: "string" } } }, {}), {});
  const polluted = JSON.parse('{"__proto__":{"pattern":"x"}}') as JsonObject;
  assert.equal(
    outcome({ required: ["pattern"], properties: { pattern: { type: "string" } } }, polluted),
    "ERR_INPUT_SCHEMA /pattern",
  );
});

test("a schema that would make the verdict a promise, or be something else than it says, is refused", () => {
  refusedAtLoad({ $async: true }, /\$async/);
  refusedAtLoad({ properties: { a: { type: "string", nullable: true } } }, /nullable/);
  refusedAtLoad({ properties: JSON.parse('{"__proto__":{"type":"string"}}') as JsonObject }, /__proto__/);
  refusedAtLoad({ properties: { a: { type: "string", format: "uri" } } }, /unknown format/);
  refusedAtLoad({ properties: { a: { $ref: "https://example.com/s" } } }, /refers to/);
  refusedAtLoad({ properties: { a: { $ref: "#/$defs/missing" } } }, /refers to/);
  refusedAtLoad(
    { properties: { a: { enum: [{ type: "string" }] }, b: { $ref: "#/properties/a/enum/0" } } },
    /refers to/,
  );
  refusedAtLoad({ properties: { a: { $id: "x", type: "string" } } }, /\$id/);
  refusedAtLoad({ $schema: "http://json-schema.org/draft-07/schema#" }, /2020-12/);
  refusedAtLoad({ properties: { a: { tpye: "string" } } }, /unknown keyword/);
  refusedAtLoad({ properties: { a: { type: "string", pattern: "(" } } }, /not usable|regular expression/i);
  refusedAtLoad({ type: "array" }, /type: object/);
  let deep: JsonObject = { type: "string" };
  for (let level = 0; level < 100; level += 1) deep = { type: "object", properties: { a: deep } };
  refusedAtLoad(deep, /nests/);
  assert.ok(
    check(
      makeTool("t", {
        schema: { $id: "https://example.com/t", $schema: "https://json-schema.org/draft/2020-12/schema" },
      }),
      {},
    ).ok,
  );
  assert.ok(
    check(makeTool("t", { properties: { $async: { type: "boolean" } } }), { $async: true }).ok,
    "a property may be called so",
  );
});

test("every pattern is judged by itself", () => {
  const parts = {
    properties: { a: { type: "string", pattern: "^a$" }, b: { type: "string", pattern: "^b$" } },
  };
  assert.deepEqual(outcome(parts, { a: "a", b: "b" }), { a: "a", b: "b" });
  assert.equal(outcome(parts, { a: "a", b: "a" }), "ERR_INPUT_SCHEMA /b");
  assert.equal(outcome(parts, { a: "b", b: "b" }), "ERR_INPUT_SCHEMA /a");
});

test("a pattern that backtracks without end costs 50 ms and refuses", () => {
  const start = performance.now();
  const text = `${"a".repeat(40)}!`;
  for (const pattern of ["^(a+)+$", "^(a|a)*$", "^(a?){40}a{40}$", "(.*)*\\1x"]) {
    const result = check(makeTool("t", { properties: { a: { type: "string", pattern } } }), { a: text });
    assert.ok(!result.ok, pattern);
  }
  const long = "a".repeat(200_000);
  assert.equal(
    outcome({ properties: { a: { type: "string", pattern: "a*b*c" } } }, { a: long }),
    "ERR_INPUT_SCHEMA ",
  );
  assert.equal(
    outcome({ schema: { patternProperties: { "^(a+)+$": { type: "string" } } } }, { [text]: "x" }),
    "ERR_INPUT_SCHEMA ",
  );
  assert.ok(performance.now() - start < 3_000);
  assert.deepEqual(
    outcome({ properties: { a: { type: "string", pattern: "^[a-z]+(-[a-z]+)*$" } } }, { a: "a-b-c" }),
    { a: "a-b-c" },
  );
});

/** Not written as a property, since an object with `then` looks like a promise to the linter. */
const THEN = "then";
const PATH: JsonObject = { type: "string", format: "workspace-path" };

test("workspace paths are found wherever a schema can put them", () => {
  const places: [JsonObject, JsonObject, JsonObject][] = [
    [{ properties: { p: PATH } }, { p: "a/../b" }, { p: "b" }],
    [{ properties: { p: { type: "array", items: PATH } } }, { p: ["x/.", "-y"] }, { p: ["x", "./-y"] }],
    [
      {
        properties: {
          p: { type: "array", prefixItems: [{ type: "string" }, PATH], items: false, minItems: 2 },
        },
      },
      { p: ["a/.", "a/."] },
      { p: ["a/.", "a"] },
    ],
    [
      { properties: { o: { type: "object", properties: { p: PATH } } } },
      { o: { p: "/work/a" } },
      { o: { p: "a" } },
    ],
    [{ properties: { p: { $ref: "#/$defs/p" } }, $defs: { p: PATH } }, { p: "./a" }, { p: "a" }],
    [{ properties: { p: { anyOf: [{ type: "integer" }, PATH] } } }, { p: "./a" }, { p: "a" }],
    [{ properties: { p: { anyOf: [{ type: "string" }, PATH] } } }, { p: "./a" }, { p: "a" }],
    [{ properties: { p: { oneOf: [{ type: "null" }, PATH] } } }, { p: "./a" }, { p: "a" }],
    [{ properties: { p: { type: "string", allOf: [PATH] } } }, { p: "./a" }, { p: "a" }],
    [{ additionalProperties: PATH }, { x: "./a" }, { x: "a" }],
    [{ patternProperties: { "^p": PATH } }, { p1: "./a" }, { p1: "a" }],
    [
      {
        properties: { t: { $ref: "#/$defs/t" } },
        $defs: {
          t: { type: "object", properties: { p: PATH, c: { type: "array", items: { $ref: "#/$defs/t" } } } },
        },
      },
      { t: { p: "./a", c: [{ p: "./b", c: [{ p: "./c" }] }] } },
      { t: { p: "a", c: [{ p: "b", c: [{ p: "c" }] }] } },
    ],
    [
      {
        properties: { k: { type: "string" }, p: { type: "string" } },
        if: { properties: { k: { const: "file" } } },
        [THEN]: { properties: { p: PATH } },
      },
      { k: "file", p: "./a" },
      { k: "file", p: "a" },
    ],
    [
      {
        properties: { k: { type: "string" }, p: { type: "string" } },
        dependentSchemas: { k: { properties: { p: PATH } } },
      },
      { k: "", p: "./a" },
      { k: "", p: "a" },
    ],
  ];
  for (const [schema, given, canonical] of places) {
    assert.deepEqual(outcome({ schema }, given), canonical, JSON.stringify(schema));
    const leaving = JSON.parse(
      JSON.stringify(given).replaceAll(/"(?:\.\/[abc]|a\/\.\.\/b|x\/\.|\/work\/a|a\/\.)"/g, '"out/x"'),
    ) as JsonObject;
    assert.match(String(outcome({ schema }, leaving)), /^ERR_PATH_OUTSIDE \//, JSON.stringify(leaving));
  }
});

test("a path where the search does not go refuses the tool", () => {
  const lost: JsonObject[] = [
    { properties: { a: { not: PATH } } },
    { properties: { a: { type: "array", contains: PATH } } },
    { propertyNames: PATH },
    { properties: { a: { type: "string", if: PATH, [THEN]: { minLength: 1 } } } },
    { $defs: { unused: PATH } },
    { additionalProperties: true, unevaluatedProperties: PATH },
  ];
  for (const schema of lost) refusedAtLoad(schema, /workspace-path/);
});

test("the canonical path must fit the schema as the given one did", () => {
  const parts = { properties: { p: { ...PATH, pattern: "^src/" } } };
  assert.deepEqual(outcome(parts, { p: "src/./a" }), { p: "src/a" });
  assert.equal(outcome(parts, { p: "src/../secret" }), "ERR_INPUT_SCHEMA /p");
});

test("defaults are validated as if they were given", () => {
  assert.equal(
    outcome({ properties: { n: { type: "integer", minimum: 5, default: 1 } } }, {}),
    "ERR_INPUT_SCHEMA /n",
  );
  assert.equal(outcome({ properties: { p: { ...PATH, default: "out" } } }, {}), "ERR_PATH_OUTSIDE /p");
});
