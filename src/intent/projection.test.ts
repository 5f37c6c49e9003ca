import assert from "node:assert/strict";
import { test } from "node:test";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { digestOf } from "../contract/ids.ts";
import type { Json, JsonObject } from "../contract/json.ts";
import { loadCedar } from "./cedar.ts";
import { cedarSchema } from "./cedar-schema.ts";
import { createInputValidator } from "./input-schema.ts";
import { inputType } from "./input-type.ts";
import { linkFacts, makeCall, makeTool } from "./intent.fixture.ts";
import { type Projection, projectInput } from "./projection.ts";
import { buildRequest, NO_FACTS } from "./request.ts";

const EVERYTHING = makeTool("t", {
  properties: {
    text: { type: "string" },
    maybe: { type: ["string", "null"] },
    ratio: { type: "number" },
    count: { type: "integer" },
    list: { type: "array", items: { type: "string" } },
    mixed: { type: "array" },
    rows: {
      type: "array",
      items: { type: "object", properties: { id: { type: "integer" } }, required: ["id"] },
    },
    open: { type: "object", properties: { known: { type: "boolean" } } },
    any: {},
    __entity: { type: "string" },
  },
  schema: { additionalProperties: true },
});

function project(input: JsonObject): Projection {
  return projectInput(inputType(EVERYTHING), input);
}

function opaque(input: JsonObject): string[] {
  return project(input).opaque.map(({ pointer }) => pointer);
}

test("what Cedar can hold is passed on", () => {
  const input = { text: "x", count: 3, list: ["a"], rows: [{ id: 1 }], open: { known: true } };
  assert.deepEqual(project(input), { input, opaque: [] });
});

test("what it cannot hold is named by pointer and digest", () => {
  assert.deepEqual(opaque({ maybe: null }), ["/maybe"]);
  assert.deepEqual(opaque({ ratio: 1 }), ["/ratio"], "a declared number is never seen, whole or not");
  assert.deepEqual(opaque({ mixed: [1, "a"] }), ["/mixed"]);
  assert.deepEqual(opaque({ open: { known: true, other: 1 }, more: 1 }), ["/more", "/open/other"]);
  assert.deepEqual(opaque({ rows: [{ id: 1, x: 2 }] }), ["/rows/0/x"]);
  assert.deepEqual(opaque({ "a/b": {} }), ["/a~1b"]);
  assert.deepEqual(opaque({ count: 2 ** 60 }), ["/count"]);
  assert.deepEqual(project({ ratio: 0.5 }).opaque, [{ pointer: "/ratio", digest: digestOf("0.5") }]);
});

test("order and repetition in lists are named, since a set has neither", () => {
  const [first] = project({ list: ["a", "b"] }).opaque;
  const [second] = project({ list: ["b", "a"] }).opaque;
  assert.equal(first?.pointer, "/list");
  assert.notEqual(first?.digest, second?.digest);
  assert.deepEqual(opaque({ list: ["a", "a"] }), ["/list"]);
});

test("a list with one element that does not fit is hidden whole", () => {
  const projected = project({ rows: [{ id: 1, x: 2 }, { id: null }] as Json[] });
  assert.deepEqual(projected.input, {});
  assert.deepEqual(
    projected.opaque.map(({ pointer }) => pointer),
    ["/rows"],
  );
});

test("entities and calls in the input never become ones", async () => {
  const cedar = await loadCedar();
  const entity = { __entity: { type: "User", id: "root" } };
  const call = { __extn: { fn: "ip", arg: "10.0.0.1" } };
  const attempts: JsonObject[] = [
    { text: "x", ...entity },
    { ...call },
    { open: entity },
    { open: { known: true, ...entity } },
    { rows: [{ id: 1, ...entity }] },
    { any: entity, mixed: [call], extra: entity },
    { list: [entity] as unknown as string[] },
    { text: entity as unknown as string },
  ];
  for (const input of attempts) {
    const projected = project(input);
    assert.doesNotMatch(JSON.stringify(projected.input), /__entity|__extn/);
    const built = buildRequest(makeCall(EVERYTHING, input), inputType(EVERYTHING), NO_FACTS, "all");
    assert.ok(built.ok);
    const { context, action } = built.request;
    const parsed = cedar.checkParseContext({ context, action, schema: cedarSchema([EVERYTHING]) });
    assert.equal(parsed.type, "success", JSON.stringify(parsed));
  }
});

function valueAt(input: JsonObject, pointer: string): Json | undefined {
  let at: Json | undefined = input;
  for (const step of pointer.split("/").slice(1)) {
    at = (at as JsonObject)[step.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return at;
}

test("property: input that fits the schema always has a projection Cedar accepts", async () => {
  const cedar = await loadCedar();
  const validator = await createInputValidator();
  const schema = cedarSchema([EVERYTHING]);
  const type = inputType(EVERYTHING);
  const value = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
  const input = fc.record(
    {
      text: fc.string({ unit: "grapheme" }),
      maybe: fc.option(fc.string()),
      ratio: fc.double({ noNaN: true, noDefaultInfinity: true }),
      count: fc.maxSafeInteger(),
      list: fc.array(fc.string()),
      mixed: fc.array(value),
      rows: fc.array(fc.record({ id: fc.integer(), more: value }, { requiredKeys: ["id"] })),
      open: fc.record({ known: fc.boolean(), __entity: value }, { requiredKeys: [] }),
      any: value,
      extra: value,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(input, (given) => {
      const valid = validator.validate(EVERYTHING, given as JsonObject, linkFacts());
      if (!valid.ok) return assert.match(valid.message, /surrogate|must/);
      const built = buildRequest(makeCall(EVERYTHING, valid.input), type, NO_FACTS, "all");
      assert.ok(built.ok);
      const parsed = cedar.checkParseContext({
        context: built.request.context,
        action: built.request.action,
        schema,
      });
      assert.equal(parsed.type, "success", JSON.stringify([parsed, given]));
      for (const { pointer, digest } of built.projection.opaque) {
        const at = valueAt(valid.input, pointer);
        assert.equal(digest, digestOf(canonicalize(at) ?? ""));
      }
    }),
    { numRuns: 300 },
  );
});
