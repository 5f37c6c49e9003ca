import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { limitsSchema } from "../../catalog/units.ts";
import { Desk } from "./cli.fixture.ts";
import { limitRemedy, limitText } from "./limit-report.ts";

const LIMITS: readonly [what: string, why: string, text: string, flag: string | undefined][] = [
  ["wall", "ran longer than 30000 ms", "ran longer than 30 s", "`--time 5m`"],
  ["wall", "ran longer than 1500 ms", "ran longer than 1.5 s", "`--time 5m`"],
  ["wall", "ran longer than 250 ms", "ran longer than 250 ms", "`--time 5m`"],
  ["wall", "ran longer than 600000 ms", "ran longer than 10 min", "`--time 20m`"],
  ["cpu", "used more than 60000 ms of processor time", "used more than 60 s of processor time", undefined],
  [
    "memory",
    "used more than 536870912 bytes of memory",
    "used more than 512 MiB of memory",
    "`--memory 1GiB`",
  ],
  ["processes", "had more than 64 processes", "had more than 64 processes", "`--processes 128`"],
  ["output", "wrote more than 1048576 bytes", "wrote more than 1 MiB", "`--output 2MiB`"],
  ["output", "wrote more than 100 bytes", "wrote more than 100 bytes", "`--output 200B`"],
  ["input", "was given more than 1048576 bytes of input", "was given more than 1 MiB of input", undefined],
  ["fileSize", "wrote a file of more than 1048576 bytes", "wrote a file of more than 1 MiB", undefined],
];

describe("a limit that was met", () => {
  for (const [what, why, text, flag] of LIMITS) {
    it(`${text}: has units for people, and a way out`, () => {
      assert.equal(limitText(why), text);
      const exec = limitRemedy({ kind: "limit", what, why }, "callgate.exec") ?? "";
      if (flag === undefined) assert.match(exec, /no flag raises it/);
      else assert.equal(exec, flag);
      const inManifest = limitRemedy({ kind: "limit", what, why }, "a.b") ?? "";
      for (const remedy of flag === undefined ? [exec, inManifest] : [inManifest]) {
        const [, limits = ""] = /`limits: (\{.+\})`/.exec(remedy) ?? [];
        assert.equal(limitsSchema.safeParse(parse(limits)).success, true, remedy);
      }
    });
  }

  it("is told with its flag by `exec`", async (test) => {
    const desk = new Desk(test);
    const { err } = await desk.expect(124, "exec", "--time", "300ms", "--", "sleep", "20");
    assert.match(err, /✗ stopped .*\n +why +ran longer than 300 ms\n +fix +`--time 5m`\n/);
  });
});
