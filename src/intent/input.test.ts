import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GateError } from "../contract/errors.ts";
import { INPUT_DEPTH_MAX, parseInput, pointerTo, thaw } from "./input.ts";

const LIMITS = { inputBytes: 1024 * 1024 };

function refuses(text: string, code: string, limits: { inputBytes: number } = LIMITS): void {
  assert.throws(
    () => parseInput(text, limits),
    (error) => error instanceof GateError && error.code === code,
    text,
  );
}

test("plain input is parsed and frozen", () => {
  const input = parseInput('{"a":[1,-2.5,"é\\u0041",true,null,{}]}', LIMITS);
  assert.deepEqual(input, { a: [1, -2.5, "éA", true, null, {}] });
  assert.ok(Object.isFrozen(input["a"]));
});

test("a key that stands twice is refused, however it is spelt", () => {
  refuses('{"a":1,"a":2}', "ERR_INPUT_SYNTAX");
  refuses('{"a":1,"\\u0061":2}', "ERR_INPUT_SYNTAX");
  refuses('{"x":[{"a":1,"b":{},"a":1}]}', "ERR_INPUT_SYNTAX");
  assert.deepEqual(parseInput('{"a":{"a":1},"b":{"a":2}}', LIMITS), { a: { a: 1 }, b: { a: 2 } });
});

test("NUL and half surrogate pairs are refused in values and keys", () => {
  for (const text of ['"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', '"\ud800"']) {
    refuses(`{"a":${text}}`, "ERR_INPUT_SYNTAX");
    refuses(`{${text}:1}`, "ERR_INPUT_SYNTAX");
  }
  assert.deepEqual(parseInput('{"a":"\\ud83d\\ude00"}', LIMITS), { a: "😀" });
});

test("numbers that a double cannot hold are refused, by their source", () => {
  const inexact = [
    "9007199254740993",
    "-9007199254740992",
    "9007199254740992.0",
    "1e16",
    "1e400",
    "-1e400",
    "1e-400",
    "1.00000000000000000000001",
    "123456789.00000000000000001",
  ];
  for (const number of inexact) refuses(`{"a":${number}}`, "ERR_INPUT_SYNTAX");
  const exact = ["9007199254740991", "1e15", "0.1", "1.0", "100e-2", "0e-999", "0.000", "1500e-1", "-0.5"];
  for (const number of exact)
    assert.equal(parseInput(`{"a":${number}}`, LIMITS)["a"], Number(number), number);
  assert.ok(Object.is(parseInput('{"a":-0}', LIMITS)["a"], 0), "there is one zero");
});

test("depth is bounded before anything recurses", () => {
  refuses("[".repeat(100_000), "ERR_INPUT_TOO_DEEP");
  refuses('{"a":'.repeat(100_000), "ERR_INPUT_TOO_DEEP");
  const nested = (levels: number): string => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
  assert.ok(parseInput(nested(INPUT_DEPTH_MAX), LIMITS));
  refuses(nested(INPUT_DEPTH_MAX + 1), "ERR_INPUT_TOO_DEEP");
  assert.ok(
    parseInput(`{"a":"${"[".repeat(100)}\\"${"{".repeat(100)}"}`, LIMITS),
    "brackets in strings do not count",
  );
});

test("size is bounded in bytes", () => {
  refuses('{"a":"éé"}', "ERR_INPUT_TOO_LARGE", { inputBytes: 11 });
  assert.ok(parseInput('{"a":"éé"}', { inputBytes: 12 }));
});

test("time stays linear on hostile text of the full size", () => {
  const fill = 8 * 1024 * 1024;
  const texts = [
    `{"a":1.${"0".repeat(fill)}1}`,
    `{"a":"${"\\\\".repeat(fill / 2)}"}`,
    `{"a":"${"\\".repeat(fill)}`,
    `{"a":"${"x".repeat(fill)}"}`,
    `"${'\\"'.repeat(fill / 2)}`,
  ];
  for (const text of texts) {
    const start = performance.now();
    try {
      parseInput(text, { inputBytes: 2 * fill });
    } catch (error) {
      assert.ok(error instanceof GateError, String(error));
    }
    assert.ok(performance.now() - start < 5_000, text.slice(0, 12));
  }
});

test("`__proto__` is an ordinary key and changes nothing else", () => {
  const input = parseInput('{"__proto__":{"admin":true},"constructor":1}', LIMITS);
  assert.deepEqual(Object.keys(input), ["__proto__", "constructor"]);
  assert.equal((input as { admin?: unknown }).admin, undefined);
  const copy = thaw(input);
  assert.deepEqual(Object.keys(copy), ["__proto__", "constructor"]);
  assert.equal(Object.getPrototypeOf(copy), Object.prototype);
});

test("what is not a JSON object is refused", () => {
  for (const text of [
    "",
    "{",
    "{'a':1}",
    "{} {}",
    "\ufeff{}",
    '{"a":01}',
    '{"a":NaN}',
    "{,}",
    '{"a":"\n"}',
  ]) {
    refuses(text, "ERR_INPUT_SYNTAX");
  }
  for (const text of ["[]", "1", "null", '"x"']) refuses(text, "ERR_INPUT_SCHEMA");
});

test("pointers are escaped", () => {
  assert.equal(pointerTo(pointerTo("", "a/b~c"), 3), "/a~1b~0c/3");
});

test("property: on any text, parseInput answers or throws one of its own codes", () => {
  const codes = ["ERR_INPUT_SYNTAX", "ERR_INPUT_TOO_LARGE", "ERR_INPUT_TOO_DEEP", "ERR_INPUT_SCHEMA"];
  const jsonish = fc
    .array(fc.constantFrom(...'{}[]":,\\u0019e.-+ \n\0\ud800truefalsn'))
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(jsonish, fc.string({ unit: "binary" }), fc.json()), (text) => {
      try {
        parseInput(text, { inputBytes: 500 });
      } catch (error) {
        assert.ok(error instanceof GateError && codes.includes(error.code), String(error));
      }
    }),
    { numRuns: 5_000 },
  );
});

test("property: what JSON.stringify writes reads back, unless it is refused for a reason", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (value) => {
      const text = JSON.stringify(value);
      try {
        assert.deepEqual(parseInput(text, LIMITS), JSON.parse(text.replaceAll("-0,", "0,")));
      } catch (error) {
        if (!(error instanceof GateError)) throw error;
        assert.match(error.message, /number|NUL|surrogate/);
      }
    }),
    { numRuns: 2_000 },
  );
});
