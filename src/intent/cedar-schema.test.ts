import assert from "node:assert/strict";
import { test } from "node:test";
import type { JsonObject } from "../contract/json.ts";
import { loadCedar } from "./cedar.ts";
import { cedarSchema, schemaText } from "./cedar-schema.ts";
import { inputType } from "./input-type.ts";
import { CATALOG, makeTool } from "./intent.fixture.ts";

/** The Cedar type of one property, `?` behind it when optional; `-` when policy cannot see it. */
function typeOf(property: JsonObject, schema: JsonObject = {}): string {
  const { attributes } = inputType(makeTool("t", { properties: { p: property }, required: ["p"], schema }));
  const { required, ...type } = attributes["p"] ?? { required: true, type: "-" };
  const text = JSON.stringify(type)
    .replace(/\{"type":"(\w+|-)"\}/g, "$1")
    .replace(/\{"type":"Set","element":(\w+)\}/g, "Set<$1>");
  return required ? text : `${text}?`;
}

test("what reads one way has a type", () => {
  const types: [JsonObject, string][] = [
    [{ type: "string" }, "String"],
    [{ type: "integer" }, "Long"],
    [{ type: "boolean" }, "Boolean"],
    [{ enum: ["a", "b"] }, "String"],
    [{ const: 3 }, "Long"],
    [{ type: ["string", "null"] }, "String?"],
    [{ enum: ["a", null] }, "String?"],
    [{ anyOf: [{ type: "string" }, { type: "null" }] }, "String?"],
    [{ oneOf: [{ type: "integer" }, { type: "integer", minimum: 5 }] }, "Long"],
    [{ type: "array", items: { type: "string" } }, "Set<String>"],
    [{ type: "array", items: { type: ["string", "null"] } }, "Set<String>?"],
    [{ allOf: [{ type: "number" }, { type: "integer" }] }, "Long"],
    [{ type: "string", anyOf: [{ minLength: 1 }, { pattern: "x" }] }, "String"],
  ];
  for (const [property, type] of types) assert.equal(typeOf(property), type, JSON.stringify(property));
  assert.equal(typeOf({ $ref: "#/$defs/s" }, { $defs: { s: { type: "string" } } }), "String");
});

test("what does not, has none", () => {
  const untyped: JsonObject[] = [
    {},
    { type: "number" },
    { type: "null" },
    { type: ["string", "integer"] },
    { anyOf: [{ type: "string" }, { type: "integer" }] },
    { type: "array" },
    { type: "array", items: { type: "number" } },
    { type: "array", prefixItems: [{ type: "string" }], items: { type: "string" } },
    { enum: ["a", 1] },
    { const: 1.5 },
  ];
  for (const property of untyped) assert.equal(typeOf(property), "-", JSON.stringify(property));
  const recursive = { $defs: { n: { type: "array", items: { $ref: "#/$defs/n" } } } };
  assert.equal(typeOf({ $ref: "#/$defs/n" }, recursive), "-");
});

test("names that Cedar reads as entities or calls are never attributes; odd ones are", async () => {
  const names = [
    "__entity",
    "__extn",
    "__expr",
    "if",
    "weird name",
    "",
    'a"b\\c',
    "constructor",
    "é",
    "__cedar",
  ];
  const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const tool = makeTool("t", { properties, required: names });
  assert.deepEqual(Object.keys(inputType(tool).attributes).sort(), names.slice(3).sort());
  const cedar = await loadCedar();
  assert.equal(cedar.checkParseSchema(cedarSchema([tool])).type, "success");
});

test("a default makes a property certain, unless every object inherits its name", () => {
  const properties = {
    a: { type: "string", default: "x" },
    toString: { type: "string", default: "x" },
    b: { type: "string" },
  };
  const { attributes } = inputType(makeTool("t", { properties }));
  assert.deepEqual(
    Object.entries(attributes).map(([name, { required }]) => [name, required]),
    [
      ["a", true],
      ["toString", false],
      ["b", false],
    ],
  );
});

test("a property that two parts of the schema describe has no type", () => {
  const schema = {
    allOf: [
      { properties: { a: { type: "string" }, b: { type: "string" } } },
      { properties: { a: { maxLength: 3 } } },
    ],
  };
  assert.deepEqual(Object.keys(inputType(makeTool("t", { schema })).attributes), ["b"]);
});

test("the schema is printed in Cedar's own words", async () => {
  const text = await schemaText(CATALOG);
  assert.match(text, /action "repo\.search" in \[Action::"tier\/low", Action::"category\/analysis"\]/);
  assert.match(text, /principal: \[Agent, Job, Service, User\]/);
  assert.match(text, /action "tier\/critical";/);
  assert.match(text, /path: __cedar::String,/);
  assert.match(text, /depth\?: __cedar::Long/);
  assert.doesNotMatch(text, /weight/);
  assert.match(text, /ref_protected\?: __cedar::Bool/);
});
