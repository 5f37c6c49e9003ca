import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { globSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { TargetResult } from "../../selftest/run.ts";
import { Desk, ended } from "./cli.fixture.ts";
import { asText, conclusion, totals } from "./selftest-report.ts";

interface Drivers {
  readonly held: boolean;
  readonly drivers: readonly (TargetResult & { readonly totals: ReturnType<typeof totals> })[];
}

describe("callgate selftest", { concurrency: 2 }, () => {
  it("tells every probe, by driver, in JSON", async (test) => {
    const desk = new Desk(test);
    const said = await desk.run(["selftest", "--only", "credentials.gate-key", "--json"]);
    const { held, drivers } = JSON.parse(said.out) as Drivers;
    assert.equal(said.code, held ? 0 : 1);
    assert.equal(said.err, "");
    const [bubblewrap] = drivers;
    assert.equal(bubblewrap?.driver, "bubblewrap");
    assert.equal(bubblewrap?.isolation, "process");
    assert.deepEqual(
      bubblewrap?.probes.map(({ id, state }) => [id, state]),
      ["credentials.gate-key", "credentials.gate-key-by-link", "credentials.gate-key-writable"].map((id) => [
        id,
        "held",
      ]),
    );
    assert.equal(bubblewrap?.totals.held, 3);
  });

  it("is a table for people, and says at last what came of it", async (test) => {
    const { out, err } = await new Desk(test).expect(
      0,
      "selftest",
      "--driver",
      "bubblewrap",
      "--only",
      "dot-dot",
    );
    assert.match(out, /^links\n {2}✓ dot-dot +goes up from its working directory\n/m);
    assert.match(out, /^bubblewrap, process: 1 held, 0 open/m);
    assert.match(err, /^✓ everything that was shown holds, in 1 driver\n$/);
  });

  it("refuses names that nothing has, with those there are", async (test) => {
    const desk = new Desk(test);
    assert.match(
      (await desk.expect(64, "selftest", "--driver", "nothing")).err,
      /choose among bubblewrap \(process\)/,
    );
    assert.match(
      (await desk.expect(64, "selftest", "--only", "nothing")).err,
      /no probe's name holds `nothing`/,
    );
    await desk.expect(64, "selftest", "--isolation", "nothing");
  });

  it("ends when it is told to, with the signal's exit code, no table and nothing left behind", async (test) => {
    const desk = new Desk(test);
    const temporary = join(desk.base, "tmp");
    mkdirSync(temporary);
    const main = new URL("./main.ts", import.meta.url).href;
    const code = `const { main } = await import(${JSON.stringify(main)}); process.exitCode = await main(process.argv.slice(1));`;
    const args = ["--input-type=module", "-e", code, "--", "selftest", "--driver", "bubblewrap", "--json"];
    const env = { PATH: process.env["PATH"], HOME: desk.base, TMPDIR: temporary };
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const whole = ended(child);
    const scenes = (): readonly string[] => globSync(`${temporary}/callgate-selftest-*/scenes/*`);
    while (scenes().length === 0 && child.exitCode === null) await sleep(5);
    child.kill("SIGINT");
    const { code: exit, out } = await whole;
    assert.equal(exit, 130);
    assert.equal(out, "");
    assert.deepEqual(readdirSync(temporary), []);
  });
});

describe("the report of a selftest", () => {
  const usable: TargetResult = {
    driver: "d",
    isolation: "process",
    usable: true,
    detail: "d 1.0",
    probes: [
      { id: "files.a", title: "reads", state: "held", detail: "" },
      { id: "files.b", title: "writes", state: "open", detail: "it was changed" },
      { id: "links.c", title: "follows", state: "broken", detail: "no perl" },
      { id: "links.d", title: "waits", state: "unshown", detail: "no kernel" },
    ],
    usability: [
      { id: "usability.e", title: "works", state: "fails", detail: "exit 1" },
      { id: "usability.f", title: "git", state: "untried", detail: "" },
    ],
  };
  const absent: TargetResult = {
    ...usable,
    usable: false,
    detail: "no runsc",
    remedy: "install it",
    probes: [],
    usability: [],
  };

  it("has each failure in full, with what got through and what it means", () => {
    const text = asText([usable]);
    assert.match(text, /✗ files\.b +writes\n +open +it was changed\n +means +a tool reads or changes files/);
    assert.match(text, /✗ links\.c +follows\n +broken +no perl\n +means +nothing is known/);
    assert.match(text, /✗ usability\.e +works\n +fails +exit 1/);
    assert.match(text, /– d +waits +\(not shown/);
    assert.match(text, /d, process: 1 held, 1 open, 1 broken, 1 not shown; 0 work, 1 fail, 1 not tried/);
    assert.equal(conclusion([usable]), "3 probes failed, in 1 driver");
  });

  it("names an absent driver and what would add it, and concludes nothing from it", () => {
    assert.match(
      asText([absent]),
      /– d, process +no runsc\n +not here, so nothing was tried\n +fix +install it/,
    );
    assert.match(conclusion([absent]), /nothing was shown/);
    assert.match(conclusion([usable, absent]), /1 driver not here/);
    assert.deepEqual(Object.values(totals(absent)), [0, 0, 0, 0, 0, 0, 0]);
  });
});
