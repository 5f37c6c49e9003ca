import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fitsPath } from "./path-pattern.ts";
import { readings } from "./path-readings.ts";

function read(target: string): readonly string[] {
  const found = readings(target);
  assert.ok(!("refused" in found), `${target}: ${JSON.stringify(found)}`);
  return found;
}

const READ: readonly (readonly [target: string, ...understood: string[]])[] = [
  ["/", "/"],
  ["/a/b", "/a/b"],
  ["/a/b?c=/../d", "/a/b"],
  ["/a/../b", "/b", "/a/../b"],
  ["/a/./b/.", "/a/b/"],
  ["/a/b/..", "/a/"],
  ["/../../b", "/b"],
  ["/a/%2e%2e/b", "/b", "/a/../b"],
  ["/a/.%2E/b", "/b"],
  ["/%61", "/a"],
  ["/a//b", "/a//b", "/a/b"],
  ["//a", "//a", "/a"],
  ["/a/..//../b", "/b", "/a/../../b"],
  ["/x//y//../z", "/x/z", "/x/y/z", "/x//y/z"],
  ["/a;p=1/b", "/a;p=1/b", "/a/b"],
  ["/a/..;/b", "/b", "/a/..;/b"],
  ["/a/..%3bx/b", "/b"],
  ["/a\\..\\b", "/b", "/a\\..\\b"],
  ["/a%2fb", "/a/b", "/a%2fb"],
  ["/a%5cb", "/a\\b", "/a/b"],
  ["/a%2f..%2fb", "/b"],
  ["/a/..%2fb", "/b"],
  ["/a/..%5cb", "/b"],
  ["/a/%2e%2e%2fb", "/b"],
  ["/caf%C3%A9", "/café"],
  ["/100%25", "/100%"],
  ["/%2f..\\%2e", "//../."],
];

for (const [target, ...understood] of READ)
  test(`\`${target}\` may be ${understood.join(", ")}`, () => {
    const found = read(target);
    for (const path of understood) assert.ok(found.includes(path), `${path} in ${found.join(" ")}`);
  });

const REFUSED: readonly (readonly [target: string, why: RegExp])[] = [
  ["", /not a path/],
  ["a", /not a path/],
  ["*", /not a path/],
  ["/a%252e", /encoded twice/],
  ["/a%25%32e", /encoded twice/],
  ["/a%25%32%65", /encoded twice/],
  ["/%00", /control/],
  ["/%0d%0a", /control/],
  ["/%7f", /control/],
  ["/a\0", /has to be encoded/],
  ["/é", /has to be encoded/],
  ["/a b", /has to be encoded/],
  ["/a#b", /fragment/],
  ["/a?b#c", /fragment/],
  ["/%", /encodes nothing/],
  ["/%2", /encodes nothing/],
  ["/%zz", /encodes nothing/],
  ["/%u002e", /encodes nothing/],
  ["/%c0%ae%c0%ae/b", /not UTF-8/],
  ["/%ff", /not UTF-8/],
];

for (const [target, why] of REFUSED)
  test(`${JSON.stringify(target)} is refused`, () => {
    const found = readings(target);
    assert.match("refused" in found ? found.refused : "", why);
  });

test("more readings than READINGS_MAX are refused", () => {
  const target = `/${Array.from({ length: 8 }, (_, at) => `a${at}%2f..;b%5c//..\\c;/%2e%2e//`).join("x;/")}`;
  const found = readings(target);
  assert.match("refused" in found ? found.refused : "", /more than 64 ways/);
});

/** Four origins, written apart from the gate's own code. */
const ORIGINS: readonly ((target: string) => string)[] = [
  (target) => decodeURIComponent(new URL(`http://a.test${target}`).pathname),
  (target) => new URL(`http://a.test${decodeURIComponent(target)}`).pathname,
  (target) => dots(decodeURIComponent(target).replace(/;[^/]*/g, "")),
  (target) => dots(decodeURIComponent(target)).replace(/\/+/g, "/"),
];

function dots(path: string): string {
  let text = path;
  for (let before = ""; before !== text; ) {
    before = text;
    text = text.replace(/\/\.(?=\/|$)/, (_, at: number) => (at + 2 === before.length ? "/" : "")) || "/";
    if (text === before) text = text.replace(/(?:\/[^/]*)?\/\.\.(\/|$)/, "/");
  }
  return text;
}

test("no origin reads a path that the gate does not", () => {
  const piece = fc.constantFrom(
    "a",
    "b",
    "/",
    "/",
    "..",
    ".",
    "%2e",
    "%2F",
    "%5c",
    "\\",
    ";",
    "%3b",
    "//",
    "%61",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      const target = `/${pieces.join("")}`;
      const found = readings(target);
      if ("refused" in found) return;
      for (const [at, origin] of ORIGINS.entries()) {
        const understood = origin(target);
        assert.ok(
          found.includes(understood),
          `origin ${at} reads ${target} as ${understood}: ${found.join(" ")}`,
        );
      }
    }),
    { numRuns: 5_000 },
  );
});

test("a web path is read as paths", () => {
  fc.assert(
    fc.property(fc.webPath(), (path) => {
      const found = readings(path === "" ? "/" : path);
      if ("refused" in found) return;
      for (const one of found) assert.ok(one.startsWith("/"));
    }),
  );
});

const PATTERNS: readonly (readonly [pattern: string, path: string, fits: boolean])[] = [
  ["/", "/", true],
  ["/a", "/a", true],
  ["/a", "/a/", false],
  ["/a", "/A", false],
  ["/*", "/a", true],
  ["/*", "/", true],
  ["/*", "/a/b", false],
  ["/a/*", "/a/b", true],
  ["/a/*/c", "/a/b/c", true],
  ["/a/*/c", "/a/b/d/c", false],
  ["/a*c", "/abc", true],
  ["/a*c", "/ac", true],
  ["/a*c", "/acd", false],
  ["/a*a", "/a", false],
  ["/a*b*c", "/a1b2c", true],
  ["/a*b*c", "/acb", false],
  ["/a*bc*c", "/abc", false],
  ["/**", "/", true],
  ["/**", "/a/b", true],
  ["/a/**", "/a", false],
  ["/a/**", "/a/", true],
  ["/a/**", "/a/b/c", true],
  ["/a/**", "/ab/c", false],
  ["/*/b/**", "/a/b/c/d", true],
  ["/a.c", "/abc", false],
  ["/a/**/b", "/a/x/b", true],
  ["/a/**/b", "/a/x/y/b", false],
];

for (const [pattern, path, fits] of PATTERNS)
  test(`${path} ${fits ? "fits" : "does not fit"} ${pattern}`, () =>
    assert.equal(fitsPath(path, pattern), fits));

test("a pattern says what its regular expression says", () => {
  const text = (letters: string[]) =>
    fc.array(fc.constantFrom(...letters), { maxLength: 8 }).map((all) => `/${all.join("")}`);
  fc.assert(
    fc.property(text(["a", "b", "*", "/"]), text(["a", "b", "/"]), fc.boolean(), (stem, path, below) => {
      const pattern = below ? `${stem}/**` : stem.replace(/(?:\/\*\*)+$/, "");
      const inner = below ? stem : pattern;
      const expression = `^${inner.replaceAll("*", "[^/]*")}${below ? "/.*" : ""}$`;
      assert.equal(fitsPath(path, pattern), new RegExp(expression).test(path), `${path} ${pattern}`);
    }),
    { numRuns: 5_000 },
  );
});

test("many stars take no longer than few", () => {
  assert.equal(fitsPath(`/${"a".repeat(16_000)}`, `/${"*a".repeat(1_000)}*b`), false);
});

for (const [target, hidden] of [
  ["//evil/secret", "/secret"],
  ["/\\evil/secret", "/secret"],
  ["/%2fevil/secret", "/secret"],
  ["/a/..%20/secret", "/secret"],
  ["/secret.", "/secret"],
  ["/secret%20", "/secret"],
] as const)
  test(`${target} is read as ${hidden} by some`, () => {
    const found = readings(target);
    assert.ok(!("refused" in found) && found.includes(hidden), JSON.stringify(found));
  });
