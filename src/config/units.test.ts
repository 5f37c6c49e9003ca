import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { refuses } from "./gate-error.fixture.ts";
import { measureDuration, parseDuration, parseSize } from "./units.ts";

describe("units", () => {
  it("reads durations as milliseconds", () => {
    for (const [text, ms] of [
      ["250ms", 250],
      ["30s", 30_000],
      ["1.5s", 1500],
      ["2 m", 120_000],
      ["24h", 86_400_000],
      ["0.001s", 1],
    ] as const) {
      assert.equal(parseDuration(text), ms, text);
    }
  });

  it("reads sizes as bytes", () => {
    for (const [text, bytes] of [
      ["1B", 1],
      ["64KiB", 65_536],
      ["512MiB", 536_870_912],
      ["1.5GiB", 1_610_612_736],
    ] as const) {
      assert.equal(parseSize(text), bytes, text);
    }
  });

  const place = { file: "t.yaml", line: 3, column: 9 };
  const refusals: readonly [text: string, message: RegExp][] = [
    ["30", /not a number with a unit/],
    ["", /not a number with a unit/],
    ["-1s", /not a number with a unit/],
    ["1e3s", /not a number with a unit/],
    ["30s ", /not a number with a unit/],
    ["30S", /`S` is not a unit/],
    ["30sec", /`sec` is not a unit/],
    ["1constructor", /is not a unit/],
    ["0s", /is zero/],
    ["0.5ms", /whole number of ms/],
    ["25h", /more than can be asked for/],
    ["999999999999h", /more than can be asked for/],
  ];
  for (const [text, message] of refusals) {
    it(`refuses \`${text}\``, () => {
      const at = "t.yaml:3:9";
      refuses(() => parseDuration(text, place), {
        code: "ERR_CONFIG_INVALID",
        message,
        at,
        remedy: /such as `30s`/,
      });
      refuses(() => parseDuration(text), { code: "ERR_USAGE", message });
    });
  }

  it("refuses decimal sizes, which mean two things", () => {
    refuses(() => parseSize("512MB"), { code: "ERR_USAGE", message: /`MB` is not a unit/, remedy: /MiB/ });
    refuses(() => parseSize("2048GiB"), { code: "ERR_USAGE", message: /more than/ });
  });

  it("reads back whatever whole number of milliseconds is written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 86_400_000 }), (ms) => {
        assert.deepEqual(measureDuration(`${ms}ms`), { ok: true, value: ms });
      }),
    );
  });
});
