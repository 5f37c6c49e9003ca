import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Desk } from "./cli.fixture.ts";

const COMMANDS = [
  ["init"],
  ["trust"],
  ["run"],
  ["exec"],
  ["check"],
  ["why"],
  ["tools"],
  ["tools", "list"],
  ["tools", "show"],
  ["tools", "lock"],
  ["tools", "diff"],
  ["policy"],
  ["policy", "check"],
  ["policy", "test"],
  ["policy", "schema"],
  ["log"],
  ["log", "show"],
  ["log", "verify"],
  ["log", "receipt"],
  ["log", "export"],
  ["receipt"],
  ["receipt", "verify"],
  ["doctor"],
  ["selftest"],
];

describe("the command line", { concurrency: 4 }, () => {
  for (const words of COMMANDS) {
    it(`shows an example for \`${words.join(" ")} --help\``, async (test) => {
      const desk = new Desk(test);
      const { out } = await desk.expect(0, ...words, "--help");
      assert.match(out, new RegExp(`Example:\\n  (callgate|.*callgate) ${words[0]}`));
      assert.ok(!existsSync(desk.state), "help writes nothing");
    });
  }

  it("names the command that was meant", async (test) => {
    const { err } = await new Desk(test).expect(64, "tolls", "list");
    assert.match(err, /^error +unknown command `tolls`\n +fix +did you mean `tools`\?\n +code +ERR_USAGE\n$/);
  });

  it("says what to do about every usage error, once", async (test) => {
    const desk = new Desk(test);
    const cases = [
      [["exec", "--nosuch", "--", "true"], "unknown option `--nosuch`", "`callgate exec --help` shows how"],
      [["exec"], "missing required argument `CMD`", "`callgate exec --help` shows how"],
      [
        ["exec", "--isolation", "none", "--", "true"],
        "is invalid. Allowed choices are",
        "callgate exec --help",
      ],
      [["log", "shwo"], "unknown command `shwo`", "did you mean `show`?"],
    ] as const;
    for (const [args, what, fix] of cases) {
      const { err } = await desk.expect(64, ...args);
      assert.equal(err.split(what).length, 2, err);
      assert.ok(err.includes(fix), err);
    }
  });

  it("answers a usage error in JSON where JSON was asked for", async (test) => {
    const { json } = await new Desk(test).json(64, "log", "show", "--last", "none");
    assert.equal((json["error"] as { code: string }).code, "ERR_USAGE");
  });

  it("leaves `--json` after `--` to the tool", async (test) => {
    const desk = new Desk(test);
    const { out, err } = await desk.expect(78, "--config", "nowhere.yaml", "exec", "--", "ls", "--json");
    assert.equal(out, "");
    assert.match(err, /there is no file/);
  });

  it("says nothing but the result with `--quiet`", async (test) => {
    const desk = new Desk(test);
    const { out, err } = await desk.expect(0, "init", "--quiet");
    assert.match(out, /^callgate\.yaml\n/);
    assert.equal(err, "");
    assert.equal((await desk.expect(0, "policy", "test", "--quiet")).err, "");
  });

  it("refuses a state folder inside of the workspace, whatever it is asked", async (test) => {
    const desk = new Desk(test);
    const state = join(desk.project, "state");
    for (const args of [["init"], ["exec", "--", "true"], ["check", "callgate.exec"], ["tools", "list"]]) {
      const { code, err } = await desk.run(args, { state });
      assert.equal(code, 70, args.join(" "));
      assert.match(err, /is inside the workspace/);
      assert.match(err, /fix .*--state DIR/);
      assert.ok(!existsSync(state) && !existsSync(join(desk.project, "callgate.yaml")));
    }
  });

  it("shows no control character of a project to a person", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", 'version: 1\n"\\e[2Jevil\\u202e": 1\n');
    const { err } = await desk.expect(78, "trust", "--yes");
    assert.doesNotMatch(err, /[\u001b\u202e]/);
    assert.match(err, /\\u\{1b\}\[2Jevil\\u\{202e\}/);
  });

  it("reads no configuration of the home folder", async (test) => {
    const desk = new Desk(test);
    const home = join(desk.base, "home");
    mkdirSync(home);
    const { code, err } = await desk.run(["init"], { cwd: home });
    assert.equal(code, 64);
    assert.match(err, /the home folder cannot be a project/);
    writeFileSync(join(home, "callgate.yaml"), "version: 1\n");
    const { code: found } = await desk.run(["trust", "--yes"], { cwd: home });
    assert.equal(found, 78);
  });
});
