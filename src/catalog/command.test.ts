import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { refuses } from "../config/gate-error.fixture.ts";
import { GateError } from "../contract/errors.ts";
import type { JsonObject } from "../contract/json.ts";
import { ARGUMENT_BYTES_MAX, ARGV_BYTES_MAX, buildCommand } from "./command.ts";

const tool = (command: readonly string[], more: { stdin?: string; allowLeadingDash?: boolean } = {}) => ({
  run: { command, allowLeadingDash: false, environment: {}, ...more },
});
const argv = (command: readonly string[], input: JsonObject, allowLeadingDash = false) =>
  buildCommand(tool(command, { allowLeadingDash }), input).argv;

describe("buildCommand", () => {
  it("fills one argument, part of one, and several", () => {
    const input = { a: "x y", n: 1.5, b: true, list: ["p", "", "q r"] };
    assert.deepEqual(argv(["t", "{a}", "--n={n},{b}", "{...list}", "z"], input), [
      "t",
      "x y",
      "--n=1.5,true",
      "p",
      "",
      "q r",
      "z",
    ]);
  });

  it("drops the argument of an absent optional, whole", () => {
    assert.deepEqual(argv(["t", "{a}", "--b={b}", "{a}{b}", "{...list}", "z"], { b: 1 }), [
      "t",
      "--b=1",
      "z",
    ]);
  });

  it("keeps an empty value as an empty argument", () => {
    assert.deepEqual(argv(["t", "{a}", ""], { a: "" }), ["t", "", ""]);
  });

  it("takes doubled braces for braces, and never a value for a template", () => {
    assert.deepEqual(argv(["t", "{{{a}}}", "{a}"], { a: "{b}", b: "no" }), ["t", "{{b}}", "{b}"]);
  });

  it("feeds standard input, or none where its value is absent", () => {
    assert.deepEqual(buildCommand(tool(["t"], { stdin: "{a}\n" }), { a: "-x" }), {
      argv: ["t"],
      stdin: "-x\n",
    });
    assert.deepEqual(buildCommand(tool(["t"], { stdin: "{a}" }), {}), { argv: ["t"] });
  });

  it("reads nothing from the prototype of its input", () => {
    assert.deepEqual(argv(["t", "{constructor}", "{...toString}"], {}), ["t"]);
  });
});

describe("a value that looks like an option", () => {
  const optionLike = (field: string) =>
    ({
      code: "ERR_INPUT_OPTION_LIKE",
      message: new RegExp(`^\`${field.replace(/[[\]]/g, "\\$&")}\``),
    }) as const;

  it("is refused, by the name of its field", () => {
    refuses(() => argv(["t", "{a}"], { a: "-x" }), { ...optionLike("a"), remedy: /allowLeadingDash/ });
    refuses(() => argv(["t", "{a}"], { a: "-" }), optionLike("a"));
    refuses(() => argv(["t", "{a}"], { a: "--" }), optionLike("a"));
    refuses(() => argv(["t", "{a}.txt"], { a: "-x" }), optionLike("a"));
    refuses(() => argv(["t", "{n}"], { n: -1 }), optionLike("n"));
    refuses(() => argv(["t", "{...list}"], { list: ["a", "-x"] }), optionLike("list[1]"));
  });

  it("is refused where an empty value uncovers the dash", () => {
    refuses(() => argv(["t", "{a}{b}"], { a: "", b: "-x" }), optionLike("a"));
    refuses(() => argv(["t", "{a}-x"], { a: "" }), optionLike("a"));
  });

  it("is taken after a literal `--`, after literal text, and where the manifest allows it", () => {
    assert.deepEqual(argv(["t", "--", "{a}", "{...list}"], { a: "-x", list: ["-y"] }), [
      "t",
      "--",
      "-x",
      "-y",
    ]);
    assert.deepEqual(argv(["t", "--a={a}"], { a: "-x" }), ["t", "--a=-x"]);
    assert.deepEqual(argv(["t", "{a}"], { a: "-x" }, true), ["t", "-x"]);
  });

  it("is not taken after a `--` that comes later, is only a value, or is the wrapper's own", () => {
    refuses(() => argv(["t", "{a}", "--"], { a: "-x" }), optionLike("a"));
    refuses(() => argv(["t", "{...list}", "{a}"], { list: [], a: "--" }), optionLike("a"));
    refuses(() => argv(["t", "x--", "{a}"], { a: "-x" }), optionLike("a"));
    refuses(() => argv(["env", "--", "git", "log", "{a}"], { a: "-x" }), optionLike("a"));
    refuses(() => argv(["timeout", "5", "--", "git", "log", "{a}"], { a: "-x" }), optionLike("a"));
    assert.deepEqual(argv(["env", "A=b", "git", "log", "--", "{a}"], { a: "-x" }).at(-1), "-x");
  });
});

describe("what no argument can hold", () => {
  it("refuses a NUL and half of a surrogate pair", () => {
    refuses(() => argv(["t", "{a}"], { a: "x\0y" }), {
      code: "ERR_INPUT_SYNTAX",
      message: /^`a` holds a NUL/,
    });
    refuses(() => argv(["t", "{...l}"], { l: ["x", "\0"] }), {
      code: "ERR_INPUT_SYNTAX",
      message: /^`l\[1\]` holds a NUL/,
    });
    refuses(() => argv(["t", "{a}"], { a: "\ud83d" }), { code: "ERR_INPUT_SYNTAX", message: /surrogate/ });
  });

  it("refuses what its schema should have", () => {
    for (const a of [null, {}, ["x"]])
      refuses(() => argv(["t", "{a}"], { a }), { code: "ERR_INPUT_SCHEMA", message: /^`a` is not text/ });
    refuses(() => argv(["t", "{...a}"], { a: "xyz" }), {
      code: "ERR_INPUT_SCHEMA",
      message: /^`a` is not a list/,
    });
    refuses(() => argv(["t", "{...a}"], { a: [["x"]] }), {
      code: "ERR_INPUT_SCHEMA",
      message: /^`a\[0\]` is not text/,
    });
    refuses(() => argv(["{...a}"], { a: [] }), { code: "ERR_INPUT_SCHEMA", message: /empty/ });
  });

  it("bounds one argument by its bytes, the closing NUL included", () => {
    const large = (count: number) => () => argv(["t", "{a}"], { a: "é".repeat(count) });
    assert.ok(large(ARGUMENT_BYTES_MAX / 2 - 1)());
    refuses(large(ARGUMENT_BYTES_MAX / 2), {
      code: "ERR_INPUT_TOO_LARGE",
      message: /one argument/,
      remedy: /stdin/,
    });
  });

  it("bounds all arguments together, and their pointers", () => {
    const many = (count: number) => () =>
      argv(["t", "{...l}"], { l: Array.from({ length: count }, () => "x") });
    assert.ok(many(ARGV_BYTES_MAX / 10 - 10)());
    refuses(many(ARGV_BYTES_MAX / 10 + 1), { code: "ERR_INPUT_TOO_LARGE", message: /together/ });
  });
});

describe("any value", () => {
  const scalar = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string(),
    fc.constantFrom("; rm -rf /", "$(x)", "a b", "'", '"', "\n", "{b}", "{...list}", "--", "-x", "*"),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
  );
  const input = fc.record(
    { a: scalar, b: scalar, list: fc.array(scalar, { maxLength: 5 }) },
    { requiredKeys: [] },
  );

  it("never becomes another number of arguments, nor reaches one that is not its own", () => {
    fc.assert(
      fc.property(input, fc.boolean(), (values, allow) => {
        let built: readonly string[];
        try {
          built = argv(["t", "{a}", "lit", "--b={b}", "{...list}", "end"], values, allow);
        } catch (error) {
          assert.ok(error instanceof GateError);
          return;
        }
        const expected = ["t"];
        if (values.a !== undefined) expected.push(String(values.a));
        expected.push("lit");
        if (values.b !== undefined) expected.push(`--b=${values.b}`);
        expected.push(...(values.list ?? []).map(String), "end");
        assert.deepEqual(built, expected);
        if (!allow) {
          // Whatever begins with a dash was written by the manifest.
          assert.ok(built.every((text) => !text.startsWith("-") || text.startsWith("--b=")));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
