import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseStrictObject } from "./strict-json.ts";

test("what JSON.parse reads of integers and texts is read the same", () => {
  const leaf = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.dictionary(fc.string(), fc.oneof({ maxDepth: 4 }, leaf, tie("tree"), fc.array(tie("tree"))), {
      maxKeys: 6,
    }),
  }));
  fc.assert(
    fc.property(tree, fc.constantFrom(undefined, 2, "\t"), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      assert.deepEqual(parseStrictObject(text), JSON.parse(text));
    }),
  );
});

test("a repeated key is refused at any depth and in any spelling", () => {
  const repeated = [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"a":1,"b":2,"a":3}]}',
    '{"x":{"y":{"a":{},"a":[]}}}',
    '{"a":"}","b":"\\"","a":1}',
    '{ "a" : [1,2,{"c":3}] , "a" : 1 }',
  ];
  for (const text of repeated) assert.equal(parseStrictObject(text), undefined, text);
  const unrepeated = ['{"a":{"a":{"a":1}}}', '{"a":["a","a"],"b":"a"}', '{"a":"a\\\\","b":"\\\\\\"a"}'];
  for (const text of unrepeated) assert.notEqual(parseStrictObject(text), undefined, text);
});

test("fractions, big numbers, lone surrogates, depth and other values than objects are refused", () => {
  const deep = `${'{"a":'.repeat(100)}1${"}".repeat(100)}`;
  for (const text of [
    '{"a":1.5}',
    '{"a":1e400}',
    '{"a":9007199254740993}',
    '{"a":"\\ud800"}',
    '{"\\ud800":1}',
    deep,
    "[]",
    "1",
    "",
    "{",
    "null",
  ]) {
    assert.equal(parseStrictObject(text), undefined, text);
  }
});
