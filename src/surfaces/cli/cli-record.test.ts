import assert from "node:assert/strict";
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { newCallId } from "../../contract/ids.ts";
import type { CallResult } from "../../contract/result.ts";
import { Desk } from "./cli.fixture.ts";

/** Makes one call and returns its result. */
async function call(desk: Desk, ...argv: readonly string[]): Promise<CallResult> {
  const { out, err } = await desk.run(["exec", "--json", "--", ...argv]);
  assert.ok(out.startsWith("{"), err);
  return JSON.parse(out) as CallResult;
}

function alter(desk: Desk, sql: string): void {
  const database = new DatabaseSync(join(desk.state, "callgate.db"));
  database.exec(sql);
  database.close();
}

function codeOf(json: unknown): string {
  return (json as { error: { code: string } }).error.code;
}

describe("log", { concurrency: 4 }, () => {
  it("shows, verifies, exports, and gives receipts that hold elsewhere", async (test) => {
    const desk = new Desk(test);
    const result = await call(desk, "echo", "hello");
    const shown = await desk.expect(0, "log", "show");
    assert.match(shown.out, /^0 .*genesis .*the record begins/m);
    assert.match(shown.out, new RegExp(`outcome +${result.call} +callgate\\.exec +exited 0`));
    const one = await desk.json(0, "log", "show", "--last", "1");
    assert.equal((one.json["entries"] as unknown[]).length, 1);

    const verified = await desk.json(0, "log", "verify");
    assert.deepEqual([verified.json["verified"], verified.json["problems"]], [true, []]);

    const kept = join(desk.base, "kept");
    writeFileSync(kept, readFileSync(join(desk.state, "checkpoint")));
    await call(desk, "true");
    await desk.expect(0, "log", "verify", "--checkpoint", kept, "--key", join(desk.state, "log.pub"));

    const target = join(desk.base, "exported");
    await desk.expect(0, "log", "export", target);
    await desk.expect(0, "log", "verify", "--from-export", target);
    assert.match((await desk.expect(64, "log", "export", target)).err, /is not empty/);

    const file = join(desk.base, "receipt.json");
    await desk.expect(0, "log", "receipt", result.call, "-o", file);
    const key = readFileSync(join(desk.state, "log.pub"), "utf8").trim();
    const elsewhere = new Desk(test);
    const { out } = await elsewhere.expect(0, "receipt", "verify", file, "--key", key);
    assert.match(out, /✓ genuine/);
    assert.match(out, new RegExp(result.call));
    assert.match(out, /end {5}outcome: exited 0/);
    assert.ok(!existsSync(elsewhere.state), "a receipt needs no state folder");
  });

  it("shows control characters of a tool's name written out", async (test) => {
    const desk = new Desk(test);
    await desk.expect(64, "run", "\u001b[2J\u202e");
    const { out } = await desk.expect(0, "log", "show");
    assert.doesNotMatch(out, /[\u001b\u202e]/);
    assert.match(out, /\\u\{1b\}/);
    assert.doesNotMatch((await desk.expect(0, "why")).out, /[\u001b\u202e]/);
  });

  it("begins no record by looking for one", async (test) => {
    const desk = new Desk(test);
    const looking = [
      ["log", "show"],
      ["log", "verify"],
      ["log", "receipt", "last"],
      ["log", "export", "out"],
      ["why"],
    ];
    for (const args of looking) {
      assert.equal(codeOf((await desk.json(65, ...args)).json), "ERR_NOT_FOUND", args.join(" "));
    }
    assert.ok(!existsSync(desk.state));
    assert.deepEqual(readdirSync(desk.project), []);
  });

  it("says that a call is not there, or that its id is none", async (test) => {
    const desk = new Desk(test);
    await call(desk, "true");
    for (const args of [["log", "show", "--call"], ["log", "receipt"], ["why"]]) {
      assert.equal(codeOf((await desk.json(65, ...args, newCallId())).json), "ERR_NOT_FOUND");
      assert.equal(codeOf((await desk.json(64, ...args, "nonsense")).json), "ERR_USAGE");
    }
  });

  it("names the first entry that was altered", async (test) => {
    const desk = new Desk(test);
    await call(desk, "false");
    alter(
      desk,
      `UPDATE entries SET bytes = replace(bytes, '"exitCode":1', '"exitCode":0') WHERE bytes LIKE '%"kind":"outcome"%'`,
    );
    const { json } = await desk.json(65, "log", "verify");
    const [problem] = json["problems"] as unknown as { index: number; message: string }[];
    const { entries } = (await desk.json(0, "log", "show", "--call", "last")).json as unknown as {
      entries: { index: number; entry: { kind: string } }[];
    };
    assert.equal(problem?.index, entries.find(({ entry }) => entry.kind === "outcome")?.index);
    assert.match(
      (await desk.expect(65, "log", "verify")).out,
      new RegExp(`✗ does not verify.*\\n.*#${problem?.index} `),
    );
  });

  it("shows with an older checkpoint that the end was cut off, also of an export", async (test) => {
    const desk = new Desk(test);
    await call(desk, "true");
    const cut = join(desk.base, "cut");
    await desk.expect(0, "log", "export", cut);
    await call(desk, "true");
    const kept = join(desk.base, "kept");
    writeFileSync(kept, readFileSync(join(desk.state, "checkpoint")));
    await desk.expect(0, "log", "verify", "--from-export", cut);
    const { out } = await desk.expect(65, "log", "verify", "--from-export", cut, "--checkpoint", kept);
    assert.match(out, /an older checkpoint signed \d+ entries and \d+ are left/);
  });

  it("takes another log's key for no proof, and no file for a key", async (test) => {
    const [desk, other] = [new Desk(test), new Desk(test)];
    await call(desk, "true");
    await call(other, "true");
    await desk.expect(65, "log", "verify", "--key", join(other.state, "log.pub"));
    await desk.expect(70, "log", "verify", "--key", "nowhere");
    await desk.expect(70, "log", "verify", "--key", join(desk.state, "checkpoint"));
    // A key that lies inside an export says nothing about who made it.
    const target = join(desk.base, "exported");
    await desk.expect(0, "log", "export", target);
    const stranger = new Desk(test);
    const { json } = await stranger.json(70, "log", "verify", "--from-export", target);
    assert.equal(codeOf(json), "ERR_KEY_MISSING");
  });

  it("is refused with what to do when its key is gone, it is damaged, or it went backwards", async (test) => {
    const cases: readonly [string, (desk: Desk) => void, RegExp][] = [
      ["ERR_KEY_MISSING", (desk) => unlinkSync(join(desk.state, "log.key")), /backup/],
      [
        "ERR_STATE_CORRUPT",
        (desk) => {
          for (const file of ["callgate.db-wal", "callgate.db-shm"]) {
            if (existsSync(join(desk.state, file))) unlinkSync(join(desk.state, file));
          }
          const path = join(desk.state, "callgate.db");
          writeFileSync(path, Buffer.alloc(statSync(path).size, "not a database "));
        },
        /log verify/,
      ],
      [
        "ERR_STATE_ROLLBACK",
        (desk) => {
          for (const file of ["callgate.db-wal", "callgate.db-shm"]) {
            if (existsSync(join(desk.state, file))) unlinkSync(join(desk.state, file));
          }
          truncateSync(join(desk.state, "callgate.db"));
        },
        /put back/,
      ],
    ];
    for (const [code, damage, remedy] of cases) {
      const desk = new Desk(test);
      await call(desk, "true");
      damage(desk);
      for (const args of [
        ["exec", "--", "true"],
        ["log", "show"],
      ]) {
        const { json } = await desk.json(70, ...args);
        assert.equal(codeOf(json), code, args.join(" "));
        assert.match((json["error"] as { remedy: string }).remedy, remedy);
      }
      assert.match((await desk.expect(69, "doctor")).out, /^type this\n {2}[\s\S]*✗ record /m);
    }
  });
});

describe("receipt verify", { concurrency: 4 }, () => {
  it("takes a whole result, also from standard input, and refuses one that says otherwise", async (test) => {
    const desk = new Desk(test);
    const key = join(desk.state, "log.pub");
    const result = await call(desk, "false");
    const refused = await call(desk, "true");
    const verify = (value: unknown): Promise<{ code: number | null; out: string; err: string }> =>
      desk.run(["receipt", "verify", "-", "--key", key], { input: JSON.stringify(value) });
    assert.equal((await verify(result)).code, 0);
    for (const lie of [
      { exitCode: 0 },
      { outcome: "killed", killedBy: "wall" },
      { call: refused.call },
      { tool: "repo.search" },
      { signal: "SIGKILL" },
    ]) {
      const { code, err } = await verify({ ...result, ...lie });
      assert.equal(code, 65, JSON.stringify(lie));
      assert.match(err, new RegExp(`not of this result: \`${Object.keys(lie)[0]}\``));
    }
  });

  it("takes the result of a refusal", async (test) => {
    const desk = new Desk(test);
    const { out } = await desk.expect(64, "run", "nothing", "--json");
    const verify = (input: string): ReturnType<Desk["run"]> =>
      desk.run(["receipt", "verify", "-", "--key", join(desk.state, "log.pub")], { input });
    assert.match((await verify(out)).out, /end {5}denied: ERR_TOOL_UNKNOWN/);
    const { code, err } = await verify(out.replace(/"code": "ERR_TOOL_UNKNOWN"/, '"code": "ERR_FORBIDDEN"'));
    assert.equal(code, 65);
    assert.match(err, /`error\.code`/);
  });

  it("refuses what is altered, of another log, malformed, or missing", async (test) => {
    const desk = new Desk(test);
    const { receipt } = await call(desk, "false");
    const other = new Desk(test);
    await call(other, "true");
    const key = join(desk.state, "log.pub");
    const verify = async (text: string, withKey = key): Promise<string> => {
      const { code, out } = await desk.run(["receipt", "verify", "-", "--key", withKey, "--json"], {
        input: text,
      });
      assert.equal(code, 65, text);
      return codeOf(JSON.parse(out));
    };
    const whole = JSON.stringify(receipt);
    assert.equal(await verify(whole.replace('\\"exitCode\\":1', '\\"exitCode\\":0')), "ERR_RECEIPT_INVALID");
    assert.equal(await verify(whole, join(other.state, "log.pub")), "ERR_RECEIPT_INVALID");
    for (const text of ["", "{}", "[]", "null", whole.slice(0, -20)]) {
      assert.equal(await verify(text), "ERR_RECEIPT_INVALID");
    }
    await desk.expect(64, "receipt", "verify", "nowhere.json", "--key", key);
    assert.match((await desk.expect(64, "receipt", "verify", "a.json")).err, /--key/);
  });
});

describe("why", { concurrency: 4 }, () => {
  it("tells of a call that ran", async (test) => {
    const desk = new Desk(test);
    const result = await call(desk, "sh", "-c", "exit 3");
    const { out } = await desk.expect(0, "why");
    assert.match(out, /^! exit 3 {2}callgate\.exec\n.*exited 3/);
    const { json } = await desk.json(0, "why", result.call);
    assert.deepEqual([json["call"], json["outcome"]], [result.call, "exited"]);
  });

  it("tells of a forbid: the policy with its text, or the permits that are near", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    await desk.expect(77, "run", "note.write", "--arg", "path=a", "--arg", "text=a");
    const near = await desk.expect(0, "why");
    assert.match(near.out, /✗ refused {2}note\.write/);
    assert.match(near.out, /near .*notes-in-their-folder, policies\/project\.cedar:14:1\n.*@id/);
    assert.match(near.out, /fix .*callgate check note\.write/);

    desk.write(
      "policies/more.cedar",
      '@id("no-notes")\n@reason("none today")\nforbid (principal, action == Action::"note.write", resource);\n',
    );
    await desk.expect(0, "trust", "--yes");
    await desk.expect(77, "run", "note.write", "--arg", "path=notes/a", "--arg", "text=a");
    const { out } = await desk.expect(0, "why");
    assert.match(out, /why {5}none today/);
    assert.match(out, /policy {2}no-notes, policies\/more\.cedar:1:1\n.*@id/);
    assert.doesNotMatch(out, /policies are not those/);

    desk.write("policies/more.cedar", "");
    await desk.expect(0, "trust", "--yes");
    assert.match((await desk.expect(0, "why")).out, /policies are not those that decided then/);
  });

  it("tells of a field, a limit, a missing program and a missing driver, and what would help", async (test) => {
    const desk = new Desk(test);
    const cases: readonly [number, readonly string[], RegExp, RegExp][] = [
      [
        124,
        ["exec", "--time", "100ms", "--", "sleep", "60"],
        /✗ stopped.*\n.*killed by wall/,
        /fix .*--time/,
      ],
      [137, ["exec", "--output", "1KiB", "--", "cat", "/dev/zero"], /killed by output/, /fix .*--output/],
      [69, ["exec", "--", "no-such-program"], /✗ not run.*\n.*no-such-program/, /fix .*--read/],
      [
        69,
        ["exec", "--isolation", "microvm", "--", "true"],
        /ERR_DRIVER_UNAVAILABLE/,
        /fix .*callgate doctor/,
      ],
      [
        65,
        ["run", "callgate.exec", "--arg", "command=true"],
        /✗ refused.*\n.*`?\/?command/,
        /fix .*tools show/,
      ],
    ];
    for (const [code, args, said, fix] of cases) {
      await desk.expect(code, ...args);
      const { out } = await desk.expect(0, "why");
      assert.match(out, said);
      assert.match(out, fix);
    }
  });
});
