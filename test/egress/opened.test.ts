import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, beforeEach, describe, test } from "node:test";
import type { CallResult } from "../../src/contract/result.ts";
import { type DnsServer, startDnsServer } from "../../src/egress/dns-server.fixture.ts";
import type { Gate } from "../../src/gate.ts";
import { openGate } from "../../src/open-gate.ts";
import { nativeProgram } from "../../src/sandbox/native.ts";
import { createProject, type TestProject } from "../project.fixture.ts";
import { clients, UNDICI } from "./clients.fixture.ts";
import { type HttpsServer, startGit, startHttps, testAuthority } from "./servers.fixture.ts";

const skip =
  nativeProgram("guard") === undefined
    ? "native/guard.c was not built"
    : existsSync("/usr/bin/python3")
      ? false
      : "python3 is not installed";

/** Where Debian's JDK has its settings. */
const JAVA = "/etc/java-17-openjdk";

function manifests(port: number, git: number): Readonly<Record<string, string>> {
  const network = `
    network:
      allow:
        - host: a.test
          ports: [${port}]
          allowPrivate: true
          http:
            - { methods: [GET, HEAD], paths: ["/x", "/repos/**", "/big", "/reflect"] }
            - { methods: [POST], paths: ["/things/*"] }
        - { host: ws.test, ports: [${port}], allowPrivate: true, http: [{ methods: [GET], paths: ["/socket"], upgrade: true }] }
        - { host: git.test, ports: [${git}], allowPrivate: true, http: [{ methods: [GET, POST], paths: ["/repo.git/**"] }] }
        - { host: plain.test, ports: [${port}], allowPrivate: true }`;
  const tool = (name: string, isolation: string): string => `name: ${name}
description: Run a command
tier: medium
input:
  type: object
  properties: { command: { type: array, items: { type: string } } }
  required: [command]
  additionalProperties: false
run: { command: ["env", "{...command}"], allowLeadingDash: true }
sandbox:
    isolation: ${isolation}
    files: { read: ["\${workspace}", "\${node}", ${UNDICI}${existsSync(JAVA) ? `, ${JAVA}` : ""}] }
    limits: { memory: 2GiB, processes: 256, wall: 60s }${network}
`;
  return { "tools/run.yaml": tool("net.run", "process"), "tools/guest.yaml": tool("net.guest", "gvisor") };
}

const PYTHON = `
import socket, ssl, sys, urllib.request, urllib.error
def get(url, method="GET", data=None, headers={}):
  try:
    r = urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=headers))
    print("GOT", r.status, r.read().decode()[:300])
  except urllib.error.HTTPError as e: print("HTTP", e.code, e.read().decode().split("\\n")[0])
  except OSError as e: print("no", e)
def raw(name, text):
  s = ssl.create_default_context().wrap_socket(socket.create_connection((name, P), 5), server_hostname=name)
  s.settimeout(5); s.sendall(text.replace("\\n", "\\r\\n").encode("latin1"))
  out = b""
  try:
    while (c := s.recv(4000)): out += c
  except OSError: pass
  print("SAID", out[:400])
`;

describe("connections that rules open", { skip }, () => {
  const stack = new AsyncDisposableStack();
  let project: TestProject;
  let gate: Gate;
  let dns: DnsServer;
  let https: HttpsServer;
  let git: HttpsServer;

  before(async () => {
    const authority = await testAuthority();
    https = stack.use(await startHttps(authority));
    git = stack.use(await startGit(authority));
    const names = ["a.test", "ws.test", "git.test", "plain.test"];
    dns = stack.use(await startDnsServer({ answers: new Map(names.map((name) => [name, ["127.0.0.1"]])) }));
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"], authorities: [ca.pem] }\n`,
      "ca.pem": authority.pem,
      "policies/all.cedar": '@id("all") permit (principal is User, action, resource);\n',
      ...manifests(https.port, git.port),
    });
    stack.defer(() => project[Symbol.dispose]());
    gate = stack.use(await openGate({ workingDirectory: project.workspace, state: project.state }));
  });
  after(() => stack.disposeAsync());
  beforeEach(() => void https.seen.splice(0));

  const run = (command: readonly string[], tool: string = "net.run"): Promise<CallResult> =>
    gate.call({ tool, input: { command: [...command] } });
  const python = (code: string): Promise<CallResult> =>
    run([
      "/usr/bin/python3",
      "-c",
      `P = ${https.port}\nU = "https://a.test:${https.port}"\n${PYTHON}${code}`,
    ]);
  const denialsOf = ({ denials }: CallResult): string =>
    denials.map(({ what, why }) => `${what}: ${why}`).join("\n");

  for (const [tool, missing] of [
    ["net.run", existsSync("/usr/bin/bwrap") ? false : "bubblewrap is not installed"],
    ["net.guest", existsSync("/usr/bin/runsc") ? false : "runsc is not installed"],
  ] as const) {
    test(`clients trust the gate without being told: ${tool}`, { skip: missing }, async (t) => {
      for (const client of clients({ workspace: project.workspace, ssh: undefined })) {
        if (client.skip !== false || !["https", "git"].includes(client.server)) continue;
        const [name, { port }] = client.server === "git" ? ["git.test", git] : ["a.test", https];
        const result = await run(client.command(name, port), tool);
        assert.equal(
          result.exitCode,
          0,
          `${client.name}: ${result.stdout}${result.stderr}${denialsOf(result)}`,
        );
        assert.match(result.stdout, client.says, client.name);
        const entries = await gate.log.entriesOfCall(result.call);
        const requests = entries.filter(({ entry }) => JSON.stringify(entry).includes('"kind":"request"'));
        assert.ok(requests.length > 0, `${client.name} was opened`);
        t.diagnostic(`${client.name}: ${result.usage?.wallMs.toFixed(0)} ms`);
      }
    });
  }

  test("methods and paths are judged, and the refusal says what would permit them", async () => {
    const result = await python(`
get(U + "/repos/acme/app"); get(U + "/secrets"); get(U + "/x", "DELETE"); get(U + "/things/1", "POST", b"body")
get(U + "/repos/../secrets"); get(U + "/repos/%2e%2e/secrets"); get(U + "/repos/..%2fsecrets"); get(U + "//secrets")`);
    const lines = result.stdout.trim().split("\n");
    assert.match(lines[0] ?? "", /^GOT 200/);
    assert.match(lines[1] ?? "", /^HTTP 403 callgate: GET \/secrets/);
    assert.match(lines[2] ?? "", /^HTTP 403 callgate: DELETE \/x/);
    assert.match(lines[3] ?? "", /^GOT 200 .*body/);
    for (const line of lines.slice(4)) assert.match(line, /^HTTP 40[03]/);
    assert.deepEqual(https.seen, ["GET /repos/acme/app", "POST /things/1"]);
    assert.match(denialsOf(result), /GET a\.test:\d+\/secrets/);
    assert.match(JSON.stringify(result.denials), /methods: \[/, "the rule that would permit it");
  });

  test("nothing is smuggled, fronted or tunnelled", async () => {
    const shapes: readonly string[] = [
      "GET /x HTTP/1.1\nHost: evil.example\n\n",
      "GET /x HTTP/1.1\nHost: a.test\nHost: evil.example\n\n",
      "GET https://evil.example/x HTTP/1.1\nHost: a.test\n\n",
      "GET /x HTTP/1.1\n\n",
      "CONNECT evil.example:443 HTTP/1.1\nHost: a.test\n\n",
      "OPTIONS * HTTP/1.1\nHost: a.test\n\n",
      "POST /things/1 HTTP/1.1\nHost: a.test:PORT\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nGET /secrets HTTP/1.1\nHost: a.test\n\n",
      "POST /things/1 HTTP/1.1\nHost: a.test:PORT\nContent-Length: 5\nContent-Length: 6\n\nhello!",
      "POST /things/1 HTTP/1.1\nHost: a.test:PORT\nTransfer-Encoding: xchunked\n\n0\n\n",
      "POST /things/1 HTTP/1.1\nHost: a.test:PORT\nTransfer-Encoding : chunked\n\n0\n\n",
      "GET /x HTTP/1.1\nHost: a.test:PORT\nX: a\n b\n\n",
      "GET /socket HTTP/1.1\nHost: a.test:PORT\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x\nSec-WebSocket-Version: 13\n\n",
      "PRI * HTTP/2.0\n\nSM\n\n",
    ];
    for (const shape of shapes) {
      https.seen.splice(0);
      const result = await python(
        `raw("a.test", ${JSON.stringify(shape.replaceAll("PORT", `${https.port}`))})`,
      );
      assert.ok(!/SAID b'HTTP\/1.1 (?:2|101)/.test(result.stdout), `${shape}${result.stdout}`);
      assert.deepEqual(https.seen, [], shape);
      assert.ok(result.denials.length > 0, `${shape} is recorded: ${result.stdout}${result.stderr}`);
    }
  });

  test("a WebSocket opens where a rule says so", async () => {
    const upgrade =
      "GET /socket HTTP/1.1\nHost: ws.test:PORT\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x\nSec-WebSocket-Version: 13\n\n";
    const result = await python(
      `raw("ws.test", ${JSON.stringify(upgrade.replaceAll("PORT", `${https.port}`))})`,
    );
    assert.match(result.stdout, /101 Switching Protocols.*hello/, denialsOf(result));
    assert.deepEqual(https.seen, ["UPGRADE /socket"]);
  });

  test("another name than the rule's is refused before anything is opened", async () => {
    const result = await python(`
try:
  c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
  c.wrap_socket(socket.create_connection(("a.test", P), 5), server_hostname="plain.test"); print("GOT")
except OSError as e: print("no", e)`);
    assert.match(result.stdout, /^no/);
    assert.match(denialsOf(result), /plain\.test/);
  });

  test("large bodies stream both ways, and passed-through hosts beside them are not opened", async () => {
    const result = await python(`
print(len(urllib.request.urlopen(U + "/big?5000000").read()))
r = urllib.request.urlopen(urllib.request.Request(U + "/things/2", data=b"y" * 3000000, method="POST"))
print(len(r.read()) > 3000000)
get(f"https://plain.test:{P}/secrets")`);
    const lines = result.stdout.trim().split("\n");
    assert.deepEqual(lines.slice(0, 2), ["5000000", "True"], result.stderr);
    assert.match(lines[2] ?? "", /^GOT 200/);
    assert.equal(https.seen.at(-1), "GET /secrets");
  });
});
