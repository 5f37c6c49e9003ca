import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Desk, ended } from "./cli.fixture.ts";
import { trustWritten } from "./commands/init.ts";

function errorOf(json: unknown): { code: string; message: string; place?: string; remedy?: string } {
  return (json as { error: { code: string; message: string } }).error;
}

const TOOL = `name: hello
description: Says hello
tier: low
input: { type: object, properties: {}, additionalProperties: false }
run: { command: [echo, hello] }
sandbox: { files: { read: [.] } }
`;

describe("init", { concurrency: 4 }, () => {
  it("writes a project that is trusted, valid, and does what it says", async (test) => {
    const desk = new Desk(test);
    const { json } = await desk.json(0, "init");
    assert.deepEqual(json["written"], [
      "callgate.yaml",
      "tools/repo-search.yaml",
      "tools/repo-history.yaml",
      "tools/note-write.yaml",
      "policies/project.cedar",
      "policies/tests/project.yaml",
      "notes/README.md",
    ]);
    const first = readFileSync(join(desk.project, "callgate.yaml"), "utf8").split("\n")[0];
    assert.match(
      first ?? "",
      /^# yaml-language-server: \$schema=node_modules\/callgate\/schema\/callgate\.schema\.json$/,
    );
    assert.ok(existsSync(join(desk.state, "log.key")));
    assert.match((await desk.expect(0, "trust")).err, /trusted already/);
    assert.deepEqual((await desk.json(0, "policy", "check")).json["warnings"], []);
    assert.equal((await desk.json(0, "policy", "test")).json["failed"], 0);
    const search = await desk.expect(0, "run", "repo.search", "--arg", "pattern=version: 1");
    assert.match(search.out, /callgate\.yaml:\d+:version: 1/);
    await desk.expect(0, "run", "note.write", "--arg", "path=notes/a.md", "--arg", "text=hello");
    assert.equal(readFileSync(join(desk.project, "notes/a.md"), "utf8"), "hello");
    await desk.expect(77, "run", "note.write", "--arg", "path=callgate.yaml", "--arg", "text=evil");
    await desk.expect(65, "run", "note.write", "--arg", "path=../a", "--arg", "text=evil");
    await desk.expect(0, "exec", "--", "true");
  });

  it("has a tool that reads a repository's history, whoever owns it", async (test) => {
    const desk = new Desk(test);
    const git = (...args: string[]): unknown =>
      spawnSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.org", ...args], {
        cwd: desk.project,
      });
    await desk.expect(0, "init");
    git("init", "--quiet");
    git("add", ".");
    git("commit", "--quiet", "--message", "the first commit");
    assert.match((await desk.expect(0, "run", "repo.history")).out, /the first commit/);
  });

  it("makes the folder it is given, and says what to try there", async (test) => {
    const desk = new Desk(test);
    const { err } = await desk.expect(0, "init", "new/project");
    assert.match(err, /cd new\/project && callgate run repo\.search/);
    assert.ok(existsSync(join(desk.project, "new/project/callgate.yaml")));
  });

  it("writes over nothing, and nothing at all where something is there", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "mine\n");
    desk.write("tools/repo-search.yaml", "mine too\n");
    const { err } = await desk.expect(64, "init");
    assert.match(err, /already `callgate\.yaml`, `tools\/repo-search\.yaml`/);
    assert.equal(readFileSync(join(desk.project, "callgate.yaml"), "utf8"), "mine\n");
    assert.deepEqual(readdirSync(desk.project).sort(), ["callgate.yaml", "tools"]);
    assert.ok(!existsSync(desk.state));
  });

  it("trusts no tool or policy that lay there before", async (test) => {
    for (const path of [
      "tools/theirs.yaml",
      "policies/theirs.cedar",
      "policies/tests/theirs.yaml",
      "callgate.lock",
    ]) {
      const desk = new Desk(test);
      desk.write(path, path.startsWith("tools") ? TOOL : "");
      const { err } = await desk.expect(64, "init");
      assert.match(err, new RegExp(`already \`${path}\``));
      assert.ok(!existsSync(join(desk.project, "callgate.yaml")));
    }
  });

  it("trusts nothing that came in between", async (test) => {
    const desk = new Desk(test);
    const files = new Map([["callgate.yaml", "version: 1\n"]]);
    for (const [path, text] of [...files, ["tools/hello.yaml", TOOL] as const]) desk.write(path, text);
    await assert.rejects(trustWritten(desk.project, desk.state, files), { code: "ERR_CONFIG_UNTRUSTED" });
    assert.ok(!existsSync(desk.state));
    unlinkSync(join(desk.project, "tools/hello.yaml"));
    await trustWritten(desk.project, desk.state, files);
    assert.ok(existsSync(join(desk.state, "trust.json")));
  });

  it("writes through no link out of the folder", async (test) => {
    const desk = new Desk(test);
    const elsewhere = join(desk.base, "elsewhere");
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(desk.project, "tools"));
    assert.match((await desk.expect(64, "init")).err, /already `tools`/);
    assert.deepEqual(readdirSync(elsewhere), []);
  });
});

describe("trust", { concurrency: 4 }, () => {
  it("shows everything, pins it, and then only what changed", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    desk.write("tools/hello.yaml", TOOL);
    assert.match((await desk.expect(64, "run", "hello")).err, /inert/);
    const first = await desk.expect(0, "trust", "--yes");
    assert.match(first.out, /^\+version: 1$/m);
    assert.match(first.out, /^\+name: hello$/m);
    assert.equal((await desk.expect(0, "run", "hello")).out, "hello\n");
    desk.write("tools/hello.yaml", TOOL.replace("hello]", "bye]"));
    await desk.expect(64, "run", "hello");
    const second = await desk.expect(0, "trust", "--yes");
    assert.match(second.out, /^-run: .*hello\] \}$/m);
    assert.match(second.out, /^\+run: .*bye\] \}$/m);
    assert.doesNotMatch(second.out, /version: 1/);
    assert.equal((await desk.expect(0, "run", "hello")).out, "bye\n");
  });

  it("pins nothing where nobody can be asked", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    assert.match((await desk.expect(64, "trust")).err, /callgate trust --yes/);
    const { json } = await desk.json(64, "trust");
    assert.equal(json["state"], "untrusted");
    assert.equal(errorOf(json).code, "ERR_USAGE");
    assert.equal((await desk.json(0, "trust", "--yes")).json["state"], "trusted");
    assert.deepEqual((await desk.json(0, "trust")).json["changes"], []);
  });

  const hasScript = spawnSync("script", ["--version"]).status === 0;
  for (const [answer, code] of [
    ["y", 0],
    ["n", 78],
    ["", 78],
  ] as const) {
    it(`asks on a terminal; \`${answer}\` ends with ${code}`, { skip: !hasScript }, async (test) => {
      const desk = new Desk(test);
      desk.write("callgate.yaml", "version: 1\n");
      const bin = new URL("./main.ts", import.meta.url).href;
      const line = `'${process.execPath}' --input-type=module -e 'const { main } = await import("${bin}"); process.exitCode = await main(process.argv.slice(1))' -- --state '${desk.state}' trust`;
      const child = spawn("script", ["-qec", line, "/dev/null"], { cwd: desk.project });
      let said = "";
      child.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString("utf8");
        if (said.includes("[y/N]") && !child.stdin.writableEnded) child.stdin.end(`${answer}\n`);
      });
      assert.equal((await ended(child)).code, code, said);
      assert.equal(existsSync(join(desk.state, "trust.json")), code === 0);
    });
  }

  it("pins no project that does not load, and says where it is broken", async (test) => {
    const good = { "callgate.yaml": "version: 1\n", "tools/hello.yaml": TOOL };
    const policy = '@id("a")\npermit (\n  principal,\n  action == Action::"hello",\n  resource\n);\n';
    const cases: readonly [Record<string, string>, string, RegExp][] = [
      [{ "callgate.yaml": "version: [1\n" }, "ERR_CONFIG_SYNTAX", /^callgate\.yaml:\d+:\d+$/],
      [{ "callgate.yaml": "version: 1\ncatalogue: []\n" }, "ERR_CONFIG_INVALID", /^callgate\.yaml:2:1$/],
      [{ "callgate.yaml": "version: 1\nstate: here\n" }, "ERR_CONFIG_INVALID", /^callgate\.yaml:2:1$/],
      [{ "tools/hello.yaml": `${TOOL}categores: []\n` }, "ERR_CONFIG_INVALID", /^tools\/hello\.yaml:7:1$/],
      [{ "tools/other.yaml": TOOL }, "ERR_TOOL_DUPLICATE", /^tools\/other\.yaml:1:\d+$/],
      [
        { "tools/hello.yaml": TOOL.replace("properties", "propertys") },
        "ERR_TOOL_SCHEMA",
        /^tools\/hello\.yaml:4:\d+$/,
      ],
      [{ "policies/a.cedar": `${policy}permit (` }, "ERR_POLICY_SYNTAX", /^policies\/a\.cedar:\d+:\d+$/],
      [
        { "policies/a.cedar": policy.replace('"hello"', '"helo"') },
        "ERR_POLICY_INVALID",
        /^policies\/a\.cedar:1:1$/,
      ],
      [
        { "policies/a.cedar": policy.replace(");", ")\nwhen { context.input.nothing };") },
        "ERR_POLICY_INVALID",
        /^policies\/a\.cedar:\d+:\d+$/,
      ],
      [{ "callgate.lock": "{}" }, "ERR_CONFIG_INVALID", /^callgate\.lock:/],
    ];
    for (const [broken, code, place] of cases) {
      const desk = new Desk(test);
      for (const [path, text] of Object.entries({ ...good, ...broken })) desk.write(path, text);
      const error = errorOf((await desk.json(78, "trust", "--yes")).json);
      assert.equal(error.code, code, error.message);
      assert.match(error.place ?? "", place, error.message);
      assert.ok(!existsSync(join(desk.state, "trust.json")), error.message);
    }
  });

  it("says what is missing where there is no project", async (test) => {
    assert.match((await new Desk(test).expect(78, "trust", "--yes")).err, /fix .*callgate init/);
  });
});

describe("tools", { concurrency: 4 }, () => {
  it("lists what can be called: without a project what is built in", async (test) => {
    const desk = new Desk(test);
    assert.match((await desk.expect(0, "tools", "list")).out, /^TOOL .*\ncallgate\.exec +medium/);
    assert.ok(!existsSync(desk.state), "looking makes nothing");
  });

  it("lists no tool of an untrusted project, and says so", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    desk.write("tools/hello.yaml", TOOL);
    const before = await desk.expect(0, "tools", "list");
    assert.doesNotMatch(before.out, /hello/);
    assert.match(before.err, /is not trusted/);
    await desk.expect(0, "trust", "--yes");
    const { json } = await desk.json(0, "tools", "list");
    assert.deepEqual(
      (json as unknown as { name: string }[]).map(({ name }) => name),
      ["callgate.exec", "hello"],
    );
  });

  it("shows one tool, and the nearest name of one that is not there", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const { out } = await desk.expect(0, "tools", "show", "repo.search");
    assert.match(out, /command \["rg",/);
    assert.match(out, /"maxLength": 500/);
    assert.equal((await desk.json(0, "tools", "show", "repo.search")).json["tier"], "low");
    assert.match((await desk.expect(64, "tools", "show", "repo.serch")).err, /did you mean `repo\.search`/);
  });

  it("locks the catalogue, which then has to be trusted, and shows what differs", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    assert.match((await desk.expect(78, "tools", "diff")).err, /tools lock/);
    assert.match((await desk.expect(0, "tools", "lock")).err, /callgate trust/);
    assert.match((await desk.expect(64, "run", "repo.history")).err, /inert/);
    assert.match((await desk.expect(0, "trust", "--yes")).out, /\+\+\+ b\/callgate\.lock/);
    await desk.expect(0, "tools", "diff");
    assert.equal((await desk.json(0, "tools", "lock")).json["changed"], false);

    const path = join(desk.project, "tools/note-write.yaml");
    const text = readFileSync(path, "utf8");
    desk.write("tools/note-write.yaml", text.replace("wall: 10s", "wall: 20s"));
    desk.write("tools/hello.yaml", TOOL);
    unlinkSync(join(desk.project, "tools/repo-history.yaml"));
    const { out } = await desk.expect(1, "tools", "diff");
    assert.match(out, /^\+ hello$/m);
    assert.match(out, /^- repo\.history$/m);
    assert.match(out, /^~ note\.write\n {4}sandbox\.limits\.wallMs: 10000 → 20000$/m);
    assert.equal((await desk.json(1, "tools", "diff")).json["same"], false);
    // Trusted and not locked: it is said at once, and the tool cannot be called.
    assert.match(
      (await desk.expect(0, "trust", "--yes")).err,
      /not as callgate\.lock has them.*hello, note\.write/,
    );
    const { json } = await desk.json(78, "run", "hello");
    assert.equal(errorOf(json).code, "ERR_LOCK_MISMATCH");
  });
});

describe("policy", { concurrency: 4 }, () => {
  it("checks what is built in where there is no project", async (test) => {
    const { json } = await new Desk(test).json(0, "policy", "check");
    assert.equal(json["builtin"], true);
  });

  it("checks a project that is not trusted, and prints the place of a mistake", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const path = join(desk.project, "policies/project.cedar");
    const lines = readFileSync(path, "utf8").split("\n").length;
    appendFileSync(
      path,
      '@id("b")\nforbid (principal, action == Action::"note.write", resource)\nwhen { context.input.txt == "" };\n',
    );
    const { err } = await desk.expect(78, "policy", "check");
    assert.match(err, new RegExp(`policies/project\\.cedar:${lines + 2}:`));
    assert.match(err, /did you mean `text`/);
  });

  it("prints warnings with their place", async (test) => {
    const desk = new Desk(test);
    desk.write("callgate.yaml", "version: 1\n");
    desk.write("policies/a.cedar", '@id("never")\npermit (principal, action, resource)\nwhen { false };\n');
    assert.match(
      (await desk.expect(0, "policy", "check")).out,
      /warning policies\/a\.cedar:\d+:\d+: policy `never`/,
    );
  });

  it("runs the policy tests, and names the place of one that fails", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const path = join(desk.project, "policies/tests/project.yaml");
    const line = readFileSync(path, "utf8").split("\n").length;
    appendFileSync(path, "- name: wrong\n  tool: repo.search\n  input: { pattern: a }\n  expect: forbid\n");
    const { out, err } = await desk.expect(1, "policy", "test");
    assert.match(out, new RegExp(`✗ wrong {2}policies/tests/project\\.yaml:${line}:`));
    assert.match(out, /expected forbid, got permit/);
    assert.match(err, /1 failed/);
    assert.equal((await desk.json(1, "policy", "test")).json["failed"], 1);
  });

  it("refuses a test file that does not parse or has an unknown key", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    desk.write(
      "policies/tests/project.yaml",
      "- name: a\n  tool: repo.search\n  expect: permit\n  polices: [a]\n",
    );
    const error = errorOf((await desk.json(78, "policy", "test")).json);
    assert.equal(error.place, "policies/tests/project.yaml:4:3");
    assert.match(error.remedy ?? "", /did you mean `policies`/);
  });

  it("says that there are no tests rather than that all passed", async (test) => {
    const desk = new Desk(test);
    assert.match((await desk.expect(0, "policy", "test")).err, /there are no policy tests/);
  });

  it("prints the schema with every tool and group", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const { out } = await desk.expect(0, "policy", "schema");
    for (const name of ["repo.search", "note.write", "callgate.exec", "category/analysis", "tier/low"]) {
      assert.ok(out.includes(`action "${name}"`), name);
    }
  });
});
