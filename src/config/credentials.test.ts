import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { CREDENTIALS_FILE, parseCredentials, readCredentialNames, readCredentials } from "./credentials.ts";
import { refuses } from "./gate-error.fixture.ts";

const parse = (text: string) => parseCredentials(text, CREDENTIALS_FILE);

/** A file of one credential, of whose keys some are said otherwise. Keys start in line 4. */
function one(...lines: readonly string[]): string {
  const keys = ["host: a.example", "from: { environment: A }", "kind: bearer", "tools: [a.b]"];
  const kept = keys.filter((key) => !lines.some((line) => line.split(":")[0] === key.split(":")[0]));
  const all = [...lines, ...kept].map((line) => `    ${line}\n`);
  return `version: 1\ncredentials:\n  key:\n${all.join("")}`;
}

/** Every error has one. */
const WAY_OUT = /^(?=[^A-Z]).*(?:write|remove|leave|did you mean|add|name|the keys known)/;

describe("parseCredentials", () => {
  it("reads every key", () => {
    const all = parse(`
version: 1
credentials:
  github-read:
    host: api.github.com
    from: { environment: GITHUB_TOKEN }
    kind: bearer
    variable: GITHUB_TOKEN
    shape: ghp_
    tools: ["repo.*", "callgate.exec"]
    environments: [development]
    maskResponses: false
  queue:
    host: sqs.example:8443
    from: { command: [/usr/bin/aws-keys, --json] }
    kind: sigv4
    region: eu-west-1
    service: sqs
    tools: ["*"]
    allowClear: true
`);
    assert.deepEqual(
      [...all.values()],
      [
        {
          name: "github-read",
          host: "api.github.com",
          from: { environment: "GITHUB_TOKEN" },
          how: { kind: "bearer" },
          variable: "GITHUB_TOKEN",
          shape: "ghp_",
          tools: ["repo.*", "callgate.exec"],
          environments: ["development"],
          maskResponses: false,
          allowClear: false,
        },
        {
          name: "queue",
          host: "sqs.example:8443",
          from: { command: ["/usr/bin/aws-keys", "--json"] },
          how: { kind: "sigv4", region: "eu-west-1", service: "sqs" },
          tools: ["*"],
          maskResponses: true,
          allowClear: true,
        },
      ],
    );
  });

  const kinds: readonly [lines: readonly string[], how: unknown][] = [
    [["kind: basic", "user: ada"], { kind: "basic", user: "ada" }],
    [["kind: header", "header: X-Key"], { kind: "header", header: "X-Key" }],
    [
      ["kind: header", "header: authorization", "prefix: 'token '"],
      { kind: "header", header: "authorization", prefix: "token " },
    ],
    [["kind: query", "parameter: key"], { kind: "query", parameter: "key" }],
    [["kind: placeholder", "variable: KEY"], { kind: "placeholder" }],
  ];
  for (const [lines, how] of kinds) {
    it(`reads ${JSON.stringify(how)}`, () => {
      assert.deepEqual(parse(one(...lines)).get("key")?.how, how);
    });
  }

  const refusals: readonly [lines: readonly string[], message: RegExp, at: string, remedy?: RegExp][] = [
    [["hots: a"], /unknown key `hots`/, "4:5", /did you mean `host`/],
    [["kind: baerer"], /must be one of/, "4:11", /did you mean `bearer`/],
    [["kind: basic"], /`kind: basic` needs `user`/, "4:11"],
    [["kind: header"], /needs `header`/, "4:11", /`header: X-Api-Key`/],
    [["kind: query"], /needs `parameter`/, "4:11"],
    [["kind: sigv4", "region: a"], /needs `service`/, "4:11"],
    [["kind: placeholder"], /needs `variable`/, "4:11", /name the variable/],
    [["user: ada"], /`user` says nothing for `kind: bearer`/, "4:5", /remove it/],
    [["kind: basic", "user: 'a:b'"], /no `:`/, "5:11"],
    [["kind: header", "header: Host"], /the gate's own/, "5:13"],
    [["kind: header", "header: Content-Length"], /the gate's own/, "5:13"],
    [["kind: header", "header: 'a b'"], /token/, "5:13"],
    [["kind: header", "header: a", 'prefix: "a\\r\\nb: "'], /visible ASCII/, "6:13"],
    [["kind: query", "parameter: 'a b'"], /visible ASCII/, "5:16"],
    [["host: A.example"], /lower-case name/, "4:11"],
    [["host: '*.example'"], /lower-case name/, "4:11"],
    [["host: https://a.example"], /lower-case name/, "4:11", /without a scheme/],
    [["host: 'a.example:443'"], /scheme's own/, "4:11", /leave `:443` out/],
    [["host: 'a.example:70000'"], /1 to 65535/, "4:11"],
    [["from: API_TOKEN"], /must be a map/, "4:11", /\{ environment: API_TOKEN \}/],
    [["from: {}"], /from one place/, "4:11", /write one of/],
    [["from: { environment: A, file: /b }"], /from one place/, "4:11"],
    [["from: { environmnt: A }"], /unknown key `environmnt`/, "4:13", /did you mean `environment`/],
    [["from: { environment: 'A B' }"], /letters, digits/, "4:26"],
    [["from: { file: key }"], /absolute path/, "4:19"],
    [["from: { file: ~/key }"], /absolute path/, "4:19"],
    [["from: { command: gh auth token }"], /must be a list|form expected|must be tuple/, "4:22"],
    [["from: { command: [] }"], /command/, "4:22"],
    [["from: { command: [gh, auth] }"], /absolute path/, "4:23"],
    [["tools: []"], /at least 1 entry/, "4:12"],
    [["tools: ['']"], /a tool is named/, "4:13"],
    [["tools: ['**']"], /a tool is named/, "4:13", /`\*` for every tool/],
    [["tools: ['Repo.*']"], /a tool is named/, "4:13"],
    [["environments: []"], /at least 1 entry/, "4:19"],
    [["variable: 'A=B'"], /letters, digits/, "4:15"],
    [["variable: PATH"], /the sandbox's own/, "4:15"],
    [["shape: 'a b'"], /shape is up to/, "4:12"],
    [["value: abc"], /unknown key `value`/, "4:5"],
  ];
  for (const [lines, message, at, remedy] of refusals) {
    it(`refuses \`${lines.join("; ")}\``, () => {
      const place = `${CREDENTIALS_FILE}:${at}`;
      refuses(() => parse(one(...lines)), {
        code: "ERR_CONFIG_INVALID",
        message,
        at: place,
        remedy: remedy ?? WAY_OUT,
      });
    });
  }

  it("wants tools spelled out, a source, and a name that a rule can use", () => {
    const text =
      "version: 1\ncredentials:\n  key:\n    host: a.example\n    from: { file: /a }\n    kind: bearer\n";
    refuses(() => parse(text), {
      code: "ERR_CONFIG_INVALID",
      message: /tools` is missing/,
      remedy: /`tools: \[callgate\.exec, .*`callgate exec` is `callgate\.exec`/,
    });
    refuses(() => parse(""), {
      code: "ERR_CONFIG_INVALID",
      message: /must be a map/,
      remedy: /write `version: 1`/,
    });
    refuses(() => parse("version: 1\n"), {
      code: "ERR_CONFIG_INVALID",
      message: /is missing/,
      remedy: /by its name/,
    });
    refuses(() => parse(one().replace("  key:", "  Key:")), {
      code: "ERR_CONFIG_INVALID",
      message: /not allowed as a key/,
      remedy: /small letters/,
      at: `${CREDENTIALS_FILE}:3:3`,
    });
  });

  it("has a bound on how many there are", () => {
    const some = (count: number): string =>
      `version: 1\ncredentials:\n${Array.from(
        { length: count },
        (_, index) =>
          `  k${index}: { host: a.example, from: { environment: A }, kind: bearer, tools: [a] }\n`,
      ).join("")}`;
    assert.equal(parse(some(256)).size, 256);
    refuses(() => parse(some(257)), { code: "ERR_CONFIG_INVALID", message: /more than 256 credentials/ });
  });

  it("has a bound on a command's arguments", () => {
    const command = (count: number): string => one(`from: { command: [/a${", b".repeat(count - 1)}] }`);
    assert.equal(parse(command(64)).size, 1);
    refuses(() => parse(command(65)), { code: "ERR_CONFIG_INVALID", message: /more than 64 arguments/ });
  });
});

describe("readCredentials", () => {
  function fileWith(t: TestContext, text: string, mode: number): string {
    const folder = mkdtempSync(join(tmpdir(), "callgate-credentials-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, CREDENTIALS_FILE);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  it("reads a file of ours, and none where there is none", (t) => {
    const path = fileWith(t, one(), 0o644);
    assert.deepEqual([...(readCredentials(path)?.keys() ?? [])], ["key"]);
    assert.equal(readCredentials(`${path}.missing`), undefined);
  });

  it("reads those that are asked for, whatever the others are, and the names of all", (t) => {
    const text = `${one()}  other: { host: a.example }\n`;
    const path = fileWith(t, text, 0o600);
    assert.deepEqual([...(readCredentials(path, ["key", "none"])?.keys() ?? [])], ["key"]);
    assert.deepEqual(readCredentialNames(path), ["key", "other"]);
    assert.equal(readCredentialNames(`${path}.missing`), undefined);
    for (const wanted of [undefined, ["other"]])
      refuses(() => readCredentials(path, wanted), {
        code: "ERR_CONFIG_INVALID",
        message: /`credentials\.other\.from` is missing/,
        at: `${path}:8:10`,
      });
    refuses(() => readCredentials(fileWith(t, "version: 1\n", 0o600), ["key"]), {
      code: "ERR_CONFIG_INVALID",
      message: /`credentials` is missing/,
    });
  });

  it("refuses what somebody else could have written", (t) => {
    for (const mode of [0o664, 0o646]) {
      const path = fileWith(t, one(), mode);
      const remedy = new RegExp(`chmod go-w ${path}`);
      const message = /can be written by others/;
      refuses(() => readCredentials(path), { code: "ERR_CONFIG_INVALID", message, at: path, remedy });
    }
  });

  it("refuses a file of another user", {
    skip: process.geteuid?.() !== 0 && "only root can make one",
  }, async (t) => {
    const { chownSync } = await import("node:fs");
    const path = fileWith(t, one(), 0o644);
    chownSync(path, 65_534, 65_534);
    const message = /belongs to another user/;
    refuses(() => readCredentials(path), { code: "ERR_CONFIG_INVALID", message, at: path, remedy: /chown/ });
  });

  it("refuses what is no regular file", () => {
    for (const path of ["/dev/null", tmpdir()])
      refuses(() => readCredentials(path), { code: "ERR_CONFIG_INVALID", message: /regular file/, at: path });
  });
});
