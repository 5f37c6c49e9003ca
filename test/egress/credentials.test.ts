import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import type { CallResult } from "../../src/contract/result.ts";
import { type DnsServer, startDnsServer } from "../../src/egress/dns-server.fixture.ts";
import type { Gate } from "../../src/gate.ts";
import { openGate } from "../../src/open-gate.ts";
import { nativeProgram } from "../../src/sandbox/native.ts";
import { createProject, type TestProject } from "../project.fixture.ts";
import { type HttpsServer, startHttps, testAuthority } from "./servers.fixture.ts";

const skip =
  nativeProgram("guard") === undefined
    ? "native/guard.c was not built"
    : existsSync("/usr/bin/python3")
      ? false
      : "python3 is not installed";

/** Nobody guesses it, and it is in no file of ours. */
const SECRET = `s3cret-${"Zq9x".repeat(8)}`;

function manifest(name: string, port: number, credential: string): string {
  return `name: ${name}
description: Ask an interface
tier: medium
input: { type: object, properties: { code: { type: string } }, required: [code], additionalProperties: false }
run: { command: ["/usr/bin/python3", "-c", "{code}"] }
sandbox:
  files: { read: ["\${workspace}"] }
  network:
    allow:
      - { host: a.test, ports: [${port}], allowPrivate: true, credential: ${credential} }
      - { host: b.test, ports: [${port}], allowPrivate: true, http: [{ methods: [GET, POST], paths: ["/**"] }] }
`;
}

const PYTHON = `
import base64, json, os, sys, urllib.parse, urllib.request, urllib.error
T = os.environ.get("API_TOKEN", "")
def ask(host, path="/reflect", headers={}, data=None):
  try:
    r = urllib.request.urlopen(urllib.request.Request(f"https://{host}:{P}{path}", headers=headers, data=data))
    print(r.read().decode())
  except urllib.error.HTTPError as e: print("HTTP", e.code, e.read().decode().split("\\n")[0])
  except OSError as e: print("no", e)
`;

describe("a credential that only the gate holds", { skip }, () => {
  const stack = new AsyncDisposableStack();
  let project: TestProject;
  let gate: Gate;
  let dns: DnsServer;
  let https: HttpsServer;
  /** What the host was given, whole. */
  const given: string[] = [];
  const earlier = { home: process.env["XDG_CONFIG_HOME"], token: process.env["CALLGATE_TEST_TOKEN"] };

  before(async () => {
    const authority = await testAuthority();
    https = stack.use(
      await startHttps(authority, (request, response) => {
        given.push(JSON.stringify([request.method, request.url, request.headers]));
        request.on("data", (chunk: Buffer) => void given.push(chunk.toString("latin1")));
        // An answer before the body is an answer to the head alone, whose body goes nowhere.
        request.on("end", () => response.end(JSON.stringify(request.headers)));
      }),
    );
    dns = stack.use(
      await startDnsServer({
        answers: new Map([
          ["a.test", ["127.0.0.1"]],
          ["b.test", ["127.0.0.1"]],
        ]),
      }),
    );
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"], authorities: [ca.pem] }\n`,
      "ca.pem": authority.pem,
      "policies/all.cedar": '@id("all") permit (principal is User, action, resource);\n',
      "tools/ask.yaml": manifest("api.ask", https.port, "api"),
      "tools/echo.yaml": manifest("api.echo", https.port, "echo"),
      "tools/other.yaml": manifest("other.ask", https.port, "api"),
    });
    stack.defer(() => project[Symbol.dispose]());
    const folder = join(project.state, "../config");
    mkdirSync(join(folder, "callgate"), { recursive: true });
    const shared = `host: "a.test:${https.port}", from: { environment: CALLGATE_TEST_TOKEN }, kind: bearer, variable: API_TOKEN, tools: ["api.*"]`;
    writeFileSync(
      join(folder, "callgate/credentials.yaml"),
      `version: 1\ncredentials:\n  api: { ${shared}, maskResponses: true }\n  echo: { ${shared} }\n`,
    );
    chmodSync(join(folder, "callgate/credentials.yaml"), 0o600);
    process.env["XDG_CONFIG_HOME"] = folder;
    process.env["CALLGATE_TEST_TOKEN"] = SECRET;
    gate = stack.use(await openGate({ workingDirectory: project.workspace, state: project.state }));
  });
  after(async () => {
    await stack.disposeAsync();
    for (const [name, value] of [
      ["XDG_CONFIG_HOME", earlier.home],
      ["CALLGATE_TEST_TOKEN", earlier.token],
    ] as const) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  beforeEach(() => void given.splice(0));

  const heard: string[] = [];
  const ask = async (code: string, tool: string = "api.ask"): Promise<CallResult> => {
    const result = await gate.call(
      { tool, input: { code: `P = ${https.port}${PYTHON}${code}` } },
      { onOutput: (_, chunk) => void heard.push(Buffer.from(chunk).toString()) },
    );
    heard.push(JSON.stringify(result));
    return result;
  };

  test("is added at the gate; the tool has what stands for it, and a response is masked", async () => {
    const result = await ask('print(T); ask("a.test")');
    const [placeholder = "", reflected = ""] = result.stdout.trim().split("\n");
    assert.match(placeholder, /^callgate-/, result.stderr);
    assert.match(given.join(), new RegExp(`"authorization":"Bearer ${SECRET}"`));
    assert.match(reflected, /"authorization":"Bearer \[masked\]"/);
    const entries = await gate.log.entriesOfCall(result.call);
    assert.ok(entries.some(({ entry }) => JSON.stringify(entry).includes('"credential":"api"')));
  });

  test("takes the place of its placeholder, and of whatever else the tool sent", async () => {
    await ask(
      'ask("a.test", headers={"Authorization": "Bearer " + T}); ask("a.test", headers={"Authorization": "Basic eDp5"})',
    );
    assert.equal(given.length, 2);
    for (const one of given) assert.match(one, new RegExp(`"authorization":"Bearer ${SECRET}"`));
  });

  test("a response that gives it away is masked in what the gate hands on", async () => {
    const result = await ask('ask("a.test")', "api.echo");
    assert.match(result.stdout, /"authorization":"Bearer \[masked\]"/);
  });

  test("its placeholder goes nowhere else, however it is put", async () => {
    const result = await ask(`
print(T)
ask("b.test", headers={"X-Token": T})
ask("b.test", "/x?t=" + urllib.parse.quote(T))
ask("b.test", "/" + T)
ask("b.test", data=T.encode())
ask("b.test", data=base64.b64encode(b"x" + T.encode()))
ask("b.test", headers={"Authorization": "Basic " + base64.b64encode(b"user:" + T.encode()).decode()})`);
    const [placeholder = "?", ...lines] = result.stdout.trim().split("\n");
    // The head of a request may be on its way before its body is looked at.
    const encoded = Buffer.from(`x${placeholder}`).toString("base64").slice(2, -4);
    const arrived = given.join("\n");
    assert.ok(!arrived.includes(placeholder) && !arrived.includes(encoded), arrived);
    assert.equal(lines.length, 6);
    for (const line of lines) assert.match(line, /^HTTP 403|^no /);
    assert.ok(result.denials.length >= 1);
    assert.ok(result.denials.every(({ kind }) => kind === "egress"));
    const entries = await gate.log.entriesOfCall(result.call);
    const refused = entries.filter(({ entry }) =>
      /"kind":"request".*"verdict":"refused"/.test(JSON.stringify(entry)),
    );
    assert.equal(refused.length, 6, "each is recorded");
  });

  test("a tool that it is not for is refused before anything is built", async () => {
    const result = await ask('ask("a.test")', "other.ask");
    assert.equal(result.outcome, "forbidden");
    assert.equal(result.error?.code, "ERR_CREDENTIAL");
    assert.ok(result.error?.remedy);
    assert.deepEqual(given, []);
  });

  test("is nowhere: not inside, not in the state, not in a word that was said", async () => {
    const hex = Buffer.from(SECRET).toString("hex");
    const inside = await ask(`
ask("a.test")
found = []
places = ["/proc/self", "/proc/1", "/tmp", os.environ["HOME"], "/run", "/etc", os.getcwd()]
for root, _, files in [step for place in places for step in os.walk(place)]:
  if any(part in root for part in ("/task", "/map_files", "/fd")): continue
  for name in files:
    path = os.path.join(root, name)
    try:
      if name in ("kmsg", "pagemap", "clear_refs", "mem") or os.stat(path).st_size > 10**7: continue
      with open(path, "rb") as f:
        if bytes.fromhex("${hex}") in f.read(10**6): found.append(path)
    except OSError: pass
print("FOUND", found)`);
    assert.match(inside.stdout, /FOUND \[\]/, inside.stderr);
    const said = heard.join("\n");
    const forms = [SECRET, Buffer.from(SECRET).toString("base64").slice(0, 32)];
    for (const form of forms) assert.ok(!said.includes(form), "said");
    const files = filesIn(project.state);
    assert.ok(files.some((file) => file.endsWith("callgate.db")));
    for (const file of files) {
      const bytes = contentOf(file);
      for (const form of forms) assert.ok(!bytes.includes(form), file);
    }
  });
});

/** Of a file that is gone since, a draft of the checkpoint say, nothing. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

function filesIn(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
