import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refuses } from "../config/gate-error.fixture.ts";
import { each, manifest, parse } from "./manifest.fixture.ts";

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
