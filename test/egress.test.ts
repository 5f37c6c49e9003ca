import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer as createTcpServer, type Server } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { ExecInput, type ExecRequest } from "../src/catalog/exec-input.ts";
import { parseManifest } from "../src/catalog/manifest.ts";
import type { CallResult } from "../src/contract/result.ts";
import { type DnsServer, startDnsServer } from "../src/egress/dns-server.fixture.ts";
import { CERTIFICATE, KEY, listening } from "../src/egress/pass-through.fixture.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import { findRuntime } from "../src/sandbox/drivers/oci/probe.ts";
import { RUNTIMES } from "../src/sandbox/drivers/oci/runtimes.ts";
import { makeLayout, makeTar } from "../src/sandbox/image/image.fixture.ts";
import { nativeProgram } from "../src/sandbox/native.ts";
import { createProject, type TestProject } from "./project.fixture.ts";

const skip = nativeProgram("guard") === undefined ? "native/guard.c was not built" : false;
const CURL = existsSync("/usr/bin/curl") ? false : "curl is not installed";

const HEAD =
  "name: a.b\ndescription: d\ntier: medium\ninput: { type: object, additionalProperties: false }\nrun: { command: [x] }\n";

describe("a call with a network", { skip }, () => {
  let dns: DnsServer;
  let tls: Server;
  let tcp: Server;
  let ports: { readonly tls: number; readonly tcp: number };
  let project: TestProject;
  let gate: Gate;

  before(async () => {
    const pem = KEY.export({ type: "pkcs8", format: "pem" });
    tls = createTlsServer({ key: pem, cert: CERTIFICATE }, (socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nyes"));
    });
    tcp = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.end("plain");
    });
    ports = { tls: await listening(tls), tcp: await listening(tcp) };
    dns = await startDnsServer({
      answers: new Map([
        ["a.test", ["127.0.0.1"]],
        ["mixed.test", ["127.0.0.1", "192.0.2.1"]],
      ]),
    });
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"] }\n`,
      "ca.pem": CERTIFICATE,
      "a.txt": "here\n",
    });
    gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  });

  after(async () => {
    await gate[Symbol.asyncDispose]();
    project[Symbol.dispose]();
    await dns[Symbol.asyncDispose]();
    tls.close();
    tcp.close();
  });

  const exec = (request: ExecRequest): Promise<CallResult> =>
    gate.call({
      tool: "callgate.exec",
      input: new ExecInput({ workingDirectory: project.workspace, ...request }),
    });
  const bash = (
    script: string,
    hosts: readonly string[],
    more: Partial<ExecRequest> = {},
  ): Promise<CallResult> => exec({ command: ["bash", "-c", script], hosts, ...more });
  const facts = async (result: CallResult): Promise<readonly unknown[]> => {
    const entries = await gate.log.entriesOfCall(result.call);
    return entries.filter(({ entry }) => entry["kind"] === "egress").map(({ entry }) => entry["fact"]);
  };

  test("reaches the host it names, by TLS from end to end", { skip: CURL }, async () => {
    const url = `https://a.test:${ports.tls}/`;
    const result = await exec({
      command: ["curl", "-sS", "--max-time", "10", "--cacert", "ca.pem", url],
      hosts: [`a.test:${ports.tls},tls,private`],
    });
    assert.equal(result.stdout, "yes", result.stderr);
    assert.deepEqual(result.denials, []);
    const [fact] = (await facts(result)) as readonly Record<string, unknown>[];
    assert.equal(fact?.["verdict"], "allowed");
    assert.equal(fact?.["name"], "a.test");
    assert.equal(fact?.["port"], ports.tls);
    assert.equal(fact?.["address"], "127.0.0.1");
    assert.ok(Number(fact?.["bytesSent"]) > 0 && Number(fact?.["bytesReceived"]) > 0);
  });

  const BUSYBOX = existsSync("/bin/busybox") ? false : "busybox-static is not installed";
  for (const [runtime, isolation] of [
    ["runc", "process"],
    ["runsc", "gvisor"],
  ] as const) {
    const missing = findRuntime(RUNTIMES[runtime]) === undefined ? `${runtime} is not installed` : BUSYBOX;
    test(`reaches it from an image's root file system, in ${runtime}`, { skip: missing }, async () => {
      const path = join(project.workspace, `image-${runtime}`);
      const program = { path: "bin/busybox", content: readFileSync("/bin/busybox"), mode: 0o755 };
      const { digest } = makeLayout(path, [makeTar([program])]);
      const ask = (name: string): Promise<CallResult> =>
        exec({
          command: ["/bin/busybox", "nc", name, `${ports.tcp}`],
          root: `oci:${path}@${digest}`,
          isolation,
          workingDirectory: "/",
          hosts: [`a.test:${ports.tcp},private`],
        });
      const reached = await ask("a.test");
      assert.equal(reached.stdout, "plain", reached.stderr + JSON.stringify(reached.error));
      assert.equal(reached.driver, runtime);
      const refused = await ask("b.test");
      assert.deepEqual([refused.stdout, refused.denials[0]?.what], ["", "b.test"], refused.stderr);
      assert.notEqual(refused.exitCode, 0);
    });
  }

  test("reaches another name no more than an address", async () => {
    const script = "getent hosts b.test; cat < /dev/tcp/192.0.2.1/80; cat < /dev/tcp/127.0.0.1/80";
    const result = await bash(script, [`a.test:${ports.tcp},private`]);
    assert.deepEqual(
      result.denials.map(({ kind, what, why }) => [kind, what, why]),
      [
        ["egress", "b.test", "no rule names it"],
        ["egress", "an address or a port", "1 attempt at an address that no rule reaches"],
        [
          "egress",
          "an address or a port",
          "1 attempt at a port where nobody listens, of a host or of its own loopback",
        ],
      ],
    );
    assert.match(result.denials[0]?.remedy ?? "", /--net b\.test/);
    assert.equal((await facts(result)).length, 3);
    assert.ok(!dns.asked.some((asked) => asked.startsWith("b.test")), "nothing is forwarded");
  });

  test("does not reach a private address unless the rule says so", async () => {
    const script = `cat < /dev/tcp/a.test/${ports.tcp}`;
    const refused = await bash(script, [`a.test:${ports.tcp}`]);
    assert.equal(refused.stdout, "");
    assert.match(refused.denials[0]?.why ?? "", /127\.0\.0\.1, which is loopback/);
    const allowed = await bash(script, [`a.test:${ports.tcp},private`]);
    assert.equal(allowed.stdout, "plain");
    const mixed = await bash(`cat < /dev/tcp/mixed.test/${ports.tcp}`, [`mixed.test:${ports.tcp}`]);
    assert.match(mixed.denials[0]?.why ?? "", /127\.0\.0\.1/);
  });

  test("speaks TLS for its own name, where TLS is what is allowed", async () => {
    const script = `exec 5<>/dev/tcp/a.test/${ports.tls}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&5; cat <&5`;
    const result = await bash(script, [`a.test:${ports.tls},tls,private`]);
    assert.equal(result.stdout, "");
    assert.match(result.denials[0]?.why ?? "", /HTTP/);
  });

  test("is told of the network by the evidence", async () => {
    const result = await bash("true", ["a.test", "c.test:22"]);
    const { state, evidence } = result.controls?.network ?? { state: "", evidence: "" };
    assert.equal(state, "enforced");
    assert.match(evidence, /devices: lo, 2 listeners of the gate, resolver 198\.18\.0\.1/);
  });

  test("comes from the pool the second time, with a network of its own", async () => {
    const script = `cat < /dev/tcp/a.test/${ports.tcp}`;
    const before = gate.metrics().pool?.served ?? 0;
    for (let i = 0; i < 4; i += 1) {
      const result = await bash(script, [`a.test:${ports.tcp},private`]);
      assert.equal(result.stdout, "plain");
      assert.equal((await facts(result)).length, 1, "facts of its own");
      for (let tries = 0; tries < 200 && (gate.metrics().pool?.waiting ?? 0) === 0; tries += 1)
        await new Promise((done) => setTimeout(done, 10));
    }
    assert.ok((gate.metrics().pool?.served ?? 0) > before);
  });

  test("may write to copies as well", async () => {
    project.write("out/old.txt", "old\n");
    const script = `cat < /dev/tcp/a.test/${ports.tcp} > out/new.txt`;
    const result = await bash(script, [`a.test:${ports.tcp},private`], { write: ["out"], staged: true });
    assert.equal(result.changes?.state, "applied", result.stderr);
    assert.equal(result.changes?.paths.length, 1);
  });

  test("learns what a command would need, refusing it", async () => {
    const script =
      "getent hosts b.test; cat < /dev/tcp/a.test/443; cat < /dev/tcp/a.test/5432; cat < /dev/tcp/192.0.2.1/1; cat a.txt";
    const result = await bash(script, [], { observe: "refuse" });
    assert.match(result.stdout, /here/);
    const { yaml = "", flags = [], notes = [] } = result.learned ?? {};
    assert.match(yaml, /host: "?a\.test"?/);
    assert.ok(flags.join(" ").includes("--net a.test:5432 --net a.test"), flags.join(" "));
    assert.match(notes.join("\n"), /b\.test.* was asked for by name/);
    assert.match(notes.join("\n"), /1 attempt at an address/);
    const rules = parseManifest(`${HEAD}${yaml}`, "learnt.yaml").sandbox.network;
    assert.equal(rules.mode === "names" && rules.allow.length, 2, yaml);
    assert.ok(result.denials.length > 0);
  });

  test("policy sees where it goes", async () => {
    project.write(
      "policies/net.cedar",
      `@id("nowhere-private") @reason("no private address")
forbid (principal, action, resource) when { context.network.private };
@id("all") permit (principal is User, action, resource);
`,
    );
    project.trust();
    await using judged = await openGate({ workingDirectory: project.workspace, state: project.state });
    const input = (host: string): ExecInput =>
      new ExecInput({ command: ["true"], hosts: [host], workingDirectory: project.workspace });
    const refused = await judged.call({ tool: "callgate.exec", input: input("a.test:1,private") });
    assert.equal(refused.outcome, "forbidden");
    assert.deepEqual(refused.decision.reasons, ["no private address"]);
    const permitted = await judged.call({ tool: "callgate.exec", input: input("a.test:1") });
    assert.equal(permitted.outcome, "exited", permitted.error?.message);
  });
});
