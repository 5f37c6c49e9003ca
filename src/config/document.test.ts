import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { GateError } from "../contract/errors.ts";
import { DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, parseDocument, problemAt, validate } from "./document.ts";
import { refuses } from "./gate-error.fixture.ts";

const parse = (text: string) => parseDocument(text, "a.yaml");

describe("parseDocument", () => {
  it("reads YAML 1.2 core and JSON alike", () => {
    const expected = { a: 1, b: ["x", true, null, 1.5], c: { d: "no" } };
    assert.deepEqual(parse("a: 1\nb: [x, true, null, 1.5]\nc:\n  d: no\n").value, expected);
    assert.deepEqual(parse('{\n\t"a": 1, "b": ["x", true, null, 1.5], "c": {"d": "no"}}').value, expected);
    assert.equal(parse("").value, null);
    assert.equal(parse("# only a comment\n").value, null);
    assert.deepEqual(parse("---\na: 0x10\n").value, { a: 16 });
    assert.deepEqual(parse('{"a": "\\ud83d\\ude00"}').value, { a: "😀" });
  });

  it("keeps no negative zero, which JSON text would not", () => {
    assert.ok(Object.is((parse("a: -0.0").value as { a: number }).a, 0));
  });

  it("freezes what it read", () => {
    assert.ok(Object.isFrozen((parse("a: {b: [1]}").value as { a: object }).a));
  });

  const refusals: readonly [name: string, text: string, message: RegExp, at: string][] = [
    ["a duplicate key", "a: 1\nb: 2\na: 3\n", /^`a` appears twice in this map$/, "a.yaml:3:1"],
    ["a duplicate key in JSON", '{"a": 1, "\\u0061": 2}', /`a` appears twice/, "a.yaml:1:10"],
    ["a tab as indentation", "a:\n\tb: 1\n", /tab is used as indentation/, "a.yaml:2:1"],
    ["an anchor", "a: &x 1\n", /anchor is not allowed/, "a.yaml:1:4"],
    ["an alias", "a: 1\nb: *a\n", /alias is not allowed/, "a.yaml:2:4"],
    ["a merge key", "a:\n  <<: {b: 1}\n", /merge key is not allowed/, "a.yaml:2:3"],
    ["a custom tag", "a: !run x\n", /tag is not allowed/, "a.yaml:1:4"],
    ["a core tag", "a:\n  - !!str 1\n", /tag is not allowed/, "a.yaml:2:5"],
    ["a YAML directive", "%YAML 1.1\n---\na: yes\n", /directive is not allowed/, "a.yaml:1:1"],
    ["a second document", "a: 1\n---\nb: 2\n", /holds one document/, "a.yaml:2:1"],
    ["a second document after an end mark", "a: 1\n...\nb: 2\n", /./, "a.yaml:3:1"],
    ["a number as key", "a: 1\n1: x\n", /a key must be text/, "a.yaml:2:1"],
    ["a list as key", "? [a]\n: 1\n", /a key must be text/, "a.yaml:1:3"],
    ["an empty key", "a: 1\n: b\n", /a key must be text/, "a.yaml:2:1"],
    ["the prototype as key", "a:\n  __proto__: {b: 1}\n", /`__proto__` is not allowed/, "a.yaml:2:3"],
    ["a NUL in a value", 'a: "x\\0"\n', /holds a NUL/, "a.yaml:1:4"],
    ["a NUL in a key", '"x\\0": 1\n', /holds a NUL/, "a.yaml:1:1"],
    ["a raw NUL", "a: x\0y\n", /holds a NUL/, "a.yaml:1:4"],
    ["half of a surrogate pair", '{"a": "\\ud83d"}', /half of a surrogate pair/, "a.yaml:1:7"],
    ["an integer beyond 2^53", "a: 1\nb: 9007199254740993\n", /beyond 2\^53/, "a.yaml:2:4"],
    ["such an integer written as a fraction", "a: 9007199254740993.0\n", /beyond 2\^53/, "a.yaml:1:4"],
    ["infinity", "a: .inf\n", /must be finite/, "a.yaml:1:4"],
    ["what is not a number", "a: [.nan]\n", /must be finite/, "a.yaml:1:5"],
    ["an open list", "a: [1, 2\n", /./, "a.yaml:2:1"],
    ["an open quote", 'a: "x\n', /./, "a.yaml:2:1"],
  ];
  for (const [name, text, message, at] of refusals) {
    it(`refuses ${name}`, () => refuses(() => parse(text), { code: "ERR_CONFIG_SYNTAX", message, at }));
  }

  it("takes an integer as large as survives", () => {
    assert.deepEqual(parse("a: 9007199254740991").value, { a: Number.MAX_SAFE_INTEGER });
  });

  it("takes 64 levels and refuses 65, in a line and in a block", () => {
    const flow = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    assert.ok(parse(flow(DOCUMENT_DEPTH_MAX)).value);
    const expected = { code: "ERR_CONFIG_SYNTAX", message: /deeper than 64/ } as const;
    refuses(() => parse(flow(DOCUMENT_DEPTH_MAX + 1)), expected);
    refuses(() => parse(`${"- ".repeat(DOCUMENT_DEPTH_MAX + 1)}x`), expected);
    refuses(
      () => parse("{a: ".repeat(DOCUMENT_DEPTH_MAX + 1) + "}".repeat(DOCUMENT_DEPTH_MAX + 1)),
      expected,
    );
  });

  it("answers a nesting bomb of the full size in a moment", () => {
    for (const piece of ["[", "{a: ", "- ", "? ", "[\n"]) {
      const startedMs = performance.now();
      assert.throws(() => parse(piece.repeat(Math.floor(DOCUMENT_BYTES_MAX / piece.length))), GateError);
      assert.ok(performance.now() - startedMs < 2000, piece);
    }
  });

  it("reads a full map of distinct keys in a moment", () => {
    const text = Array.from({ length: 60_000 }, (_, index) => `k${index}: 1\n`).join("");
    const startedMs = performance.now();
    assert.equal(Object.keys(parse(text).value as object).length, 60_000);
    assert.ok(performance.now() - startedMs < 5000);
  });

  it("refuses more than 1 MiB, counted in bytes", () => {
    assert.ok(parse(`# ${"x".repeat(DOCUMENT_BYTES_MAX - 2)}`));
    const expected = { code: "ERR_CONFIG_SYNTAX", message: /larger than 1 MiB/, at: "a.yaml" } as const;
    refuses(() => parse(`# ${"x".repeat(DOCUMENT_BYTES_MAX - 1)}`), expected);
    refuses(() => parse(`# ${"é".repeat(DOCUMENT_BYTES_MAX / 2)}`), expected);
  });

  it("throws nothing but GateError, whatever it reads", () => {
    const pieces = fc.array(
      fc.oneof(
        fc.constantFrom(
          ..."a b: - ? & * ! [ ] { } , # | > ' \" % @ ` ~ \n \t \r << --- ... : \0 \x1f \x02 \x18 \ufeff !! 1 .inf 0x".split(
            " ",
          ),
          " ",
          "\n",
          "\n  ",
        ),
        fc.string({ unit: "binary", maxLength: 6 }),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const text = parts.join("");
        try {
          const document = parse(text);
          // What was read survives JSON, so its RFC 8785 form says the same.
          assert.deepEqual(JSON.parse(JSON.stringify(document.value)), document.value);
        } catch (error) {
          if (!(error instanceof GateError)) throw error;
          assert.equal(error.code, "ERR_CONFIG_SYNTAX");
          assert.ok((error.place?.line ?? 0) >= 1 && (error.place?.column ?? 0) >= 1);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("reads any JSON as JSON.parse does, or refuses it", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5, stringUnit: "grapheme" }), (text) => {
        try {
          assert.deepEqual(
            parse(text).value,
            JSON.parse(text, (_, value) => (value === 0 ? 0 : value)),
          );
        } catch (error) {
          assert.ok(error instanceof GateError, String(error));
        }
      }),
    );
  });
});

describe("places", () => {
  const document = parse("a:\n  - x: 1\n    y:\n  - z\nb: {c: 2}\n");
  const cases: readonly [path: readonly PropertyKey[], value: string, key: string][] = [
    [[], "1:1", "1:1"],
    [["a"], "2:3", "1:1"],
    [["a", 0, "x"], "2:8", "2:5"],
    [["a", 1], "4:5", "4:5"],
    [["b", "c"], "5:8", "5:5"],
    [["b", "missing"], "5:4", "5:4"],
    [["a", 7], "2:3", "2:3"],
  ];
  for (const [path, value, key] of cases) {
    it(`finds ${JSON.stringify(path)}`, () => {
      const text = ({ line, column }: { line?: number; column?: number }) => `${line}:${column}`;
      assert.equal(text(document.placeOf(path)), value);
      assert.equal(text(document.keyPlaceOf(path)), key);
    });
  }

  it("carries them into an error", () => {
    const error = problemAt(document, ["b", "c"], "no", {
      code: "ERR_TOOL_SCHEMA",
      remedy: "other",
      onKey: true,
    });
    refuses(
      () => {
        throw error;
      },
      { code: "ERR_TOOL_SCHEMA", message: /^no$/, at: "a.yaml:5:5", remedy: /^other$/ },
    );
  });
});

describe("validate", () => {
  const schema = z.strictObject({
    name: z.string().max(5),
    count: z.exactOptional(z.int().min(1).max(9)),
    limits: z.exactOptional(
      z.strictObject({ memory: z.exactOptional(z.string()), wall: z.exactOptional(z.string()) }),
    ),
    tier: z.exactOptional(z.enum(["low", "high"])),
    list: z.exactOptional(z.array(z.strictObject({ id: z.string() }))),
    map: z.exactOptional(z.record(z.string().regex(/^[a-z]+$/), z.union([z.string(), z.boolean()]))),
  });
  const refusals = [{ path: "list.*.secret", message: "no secrets", remedy: "elsewhere" }];
  const cases: readonly [text: string, message: RegExp, at: string, remedy?: RegExp][] = [
    ["name: x\nlimit: {}\n", /^unknown key `limit`$/, "a.yaml:2:1", /^did you mean `limits`\?$/],
    ["name: x\nlimits:\n  memroy: 1\n", /^unknown key `memroy`$/, "a.yaml:3:3", /did you mean `memory`/],
    [
      "name: x\nlimits: {zzzzzz: 1}\n",
      /^unknown key `zzzzzz`$/,
      "a.yaml:2:10",
      /known here are `memory`, `wall`/,
    ],
    ["name: x\nlist:\n  - id: a\n  - ident: b\n", /^`list\[1\].id` is missing$/, "a.yaml:4:5"],
    ["count: 1\n", /^`name` is missing$/, "a.yaml:1:1"],
    // Missing only because it is misspelt: the place of the slip, not of the map it stands in.
    ["count: 1\nnmae: x\n", /^unknown key `nmae`$/, "a.yaml:2:1", /^did you mean `name`\?$/],
    ["name: x\nlist:\n  - id: a\n  - di: b\n", /^unknown key `di`$/, "a.yaml:4:5", /^did you mean `id`\?$/],
    ["name: 1\n", /^`name` must be text$/, "a.yaml:1:7"],
    ["name:\n", /^`name` must be text$/, "a.yaml:1:6"],
    ["name: toolong\n", /^`name` must be at most 5 characters$/, "a.yaml:1:7"],
    ["name: x\ncount: 0\n", /^`count` must be at least 1$/, "a.yaml:2:8"],
    ["name: x\ncount: 1.5\n", /^`count` must be a whole number$/, "a.yaml:2:8"],
    ["name: x\ntier: hihg\n", /^`tier` must be one of `low`, `high`$/, "a.yaml:2:7", /did you mean `high`/],
    ["name: x\nmap: {A: b}\n", /^`map.A` is not allowed as a key$/, "a.yaml:2:7"],
    ["name: x\nmap: {a: 1}\n", /^`map.a` must be text$/, "a.yaml:2:10"],
    ["name: x\nlist: [{id: a, secret: b}]\n", /^no secrets$/, "a.yaml:2:16", /^elsewhere$/],
    ["- x\n", /^the file must be a map$/, "a.yaml:1:1"],
    ["", /^the file must be a map$/, "a.yaml:1:1"],
  ];
  for (const [text, message, at, remedy] of cases) {
    it(`says ${message.source}`, () => {
      const expected = {
        code: "ERR_CONFIG_INVALID",
        message,
        at,
        ...(remedy === undefined ? {} : { remedy }),
      } as const;
      refuses(() => validate(parse(text), schema, refusals), expected);
    });
  }

  it("freezes what it returns, also where the schema made it anew", () => {
    const made = z.strictObject({ a: z.string().transform((text) => [text]) });
    assert.ok(Object.isFrozen(validate(parse("a: x"), made).a));
  });

  it("names the first problem of the file, not of the schema", () => {
    const text = "zz: 1\ncount: 0\n";
    refuses(() => validate(parse(text), schema), {
      code: "ERR_CONFIG_INVALID",
      message: /`zz`|missing/,
      at: "a.yaml:1:1",
    });
  });
});
