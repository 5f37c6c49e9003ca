import assert from "node:assert/strict";
import { test } from "node:test";
import { contextSight, fromByteOffset, positionAt, splitPolicies } from "./policy-text.ts";

test("policies are split at semicolons that are code", () => {
  const text =
    '// a; b\n@id("x;\\"y") permit(principal,action,resource); // c;\n\nforbid (\nprincipal, action, resource);\nrest';
  assert.deepEqual(splitPolicies(text), [
    { text: '@id("x;\\"y") permit(principal,action,resource);', offset: 8 },
    { text: "forbid (\nprincipal, action, resource);", offset: 63 },
    { text: "rest", offset: 102 },
  ]);
  assert.deepEqual(splitPolicies("// nothing;\n  \n"), []);
});

test("sight of the context is told by its words", () => {
  const sights: [string, string[] | "all"][] = [
    ["principal == context.call.ref", ["call"]],
    ["context . /* no comment */ call", "all"],
    ["context // say\n .\n opaque", ["opaque"]],
    ['context.input.a && context.call.ref == ""', ["input", "call"]],
    ["context", "all"],
    ["context == {}", "all"],
    ['context["input"]', "all"],
    ["context has input", "all"],
    ["{a: context}.a.call", "all"],
    ["principal.context.input", ["input"]],
    ['"context.input"', []],
    ["// context.input", []],
    ["// x\rcontext.input", ["input"]],
    ["mycontext.input contexts.input context1", []],
    ['context."call"', "all"],
    ['"unclosed context.call', "all"],
    ['"a\\" context.call" == context.opaque', ["opaque"]],
  ];
  for (const [text, sight] of sights) {
    const found = contextSight([text]);
    assert.deepEqual(found === "all" ? found : [...found], sight, text);
  }
});

test("places count lines and columns from 1, and Cedar's bytes", () => {
  assert.deepEqual(positionAt("a\nbc\r\nd", 3), { line: 2, column: 2 });
  assert.deepEqual(positionAt("a\nbc\r\nd", 6), { line: 3, column: 1 });
  assert.equal(fromByteOffset("éx", 2), 1);
  assert.equal(fromByteOffset("😀x", 4), 2);
});
