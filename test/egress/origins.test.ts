import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { ExecInput } from "../../src/catalog/exec-input.ts";
import type { CallResult } from "../../src/contract/result.ts";
import { type DnsServer, startDnsServer } from "../../src/egress/dns-server.fixture.ts";
import { listening } from "../../src/egress/pass-through.fixture.ts";
import type { Gate } from "../../src/gate.ts";
import { openGate } from "../../src/open-gate.ts";
import { nativeProgram } from "../../src/sandbox/native.ts";
import { createProject, type TestProject } from "../project.fixture.ts";

const skip =
  nativeProgram("guard") === undefined
    ? "native/guard.c was not built"
    : existsSync("/usr/bin/curl")
      ? false
      : "curl is not installed";
const MIB = 1024 * 1024;

/** What an origin does with a connection, by the first line that it is sent, or by nothing at all. */
const ORIGINS = {
  /** Takes everything, and says nothing. */
  silent: () => {},
  /** Begins an answer, and leaves it there. */
  stalls: (socket: Socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome"),
  /** A head without end. */
  heads: (socket: Socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    pour(socket, Buffer.from(`x-more: ${"y".repeat(1_000)}\r\n`.repeat(64)));
  },
  /** Interim answers without end. */
  interim: (socket: Socket) => pour(socket, Buffer.from("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(512))),
  /** A body without end, as fast as it is taken. */
  floods: (socket: Socket) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    pour(socket, Buffer.alloc(64 * 1024, "z"));
  },
} as const;

function pour(socket: Socket, block: Buffer): void {
  const more = (): void => {
    while (socket.writable && socket.write(block));
  };
  socket.on("drain", more);
  more();
}

describe("origins that stall, and that flood", { skip }, () => {
  let project: TestProject;
  let gate: Gate;
  let dns: DnsServer;
  const ports = new Map<keyof typeof ORIGINS, number>();
  const sockets: Socket[] = [];
  const servers = Object.entries(ORIGINS).map(([name, serve]) => ({
    name: name as keyof typeof ORIGINS,
    server: createServer((socket) => {
      sockets.push(socket.on("error", () => {}));
      socket.once("data", () => serve(socket)).resume();
    }),
  }));

  before(async () => {
    for (const { name, server } of servers) ports.set(name, await listening(server));
    dns = await startDnsServer({ answers: new Map([["a.test", ["127.0.0.1"]]]) });
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"] }\n`,
    });
    project.trust();
    gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  });

  after(async () => {
    await gate?.[Symbol.asyncDispose]();
    project?.[Symbol.dispose]();
    await dns?.[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
    for (const { server } of servers) server.close();
  });

  const run = async (origin: keyof typeof ORIGINS, how: string, script: string): Promise<CallResult> => {
    const port = ports.get(origin);
    const command = ["/bin/bash", "-c", script.replaceAll("HOST", `a.test:${port}`), `a.test:${port}`];
    const hosts = [`a.test:${port},${how},private`];
    const input = new ExecInput({ workingDirectory: project.workspace, hosts, command });
    return await gate.call({ tool: "callgate.exec", input });
  };

  /** Of this call, in the record. */
  const connections = async ({ call }: CallResult): Promise<readonly string[]> => {
    const entries = await gate.log.entriesOfCall(call);
    return entries
      .filter(({ entry }) => entry["kind"] === "egress")
      .map(({ entry }) => JSON.stringify(entry));
  };

  for (const [how, url] of [
    ["tcp", "http://HOST/"],
    ["tls", "https://HOST/"],
    ["http", "http://HOST/"],
  ] as const)
    test(`one that says nothing holds up its own caller alone, by ${how}`, async () => {
      const [waiting, beside] = await Promise.all([
        run("silent", how, `curl -sS -m 2 ${url}`),
        run("stalls", "tcp", "curl -sS -m 20 -r 0-3 --max-filesize 10 http://HOST/ || true; echo went on"),
      ]);
      assert.equal(waiting.exitCode, 28, waiting.stderr);
      assert.match(beside.stdout, /went on/);
      assert.equal((await connections(waiting)).length > 0, true);
    });

  test("an answer that stops in the middle is as long as the tool waits for it", async () => {
    const result = await run("stalls", "http", "curl -sS -m 2 http://HOST/; echo $?");
    assert.match(result.stdout, /^some28\n$/);
    assert.match((await connections(result)).join(), /"kind":"request"/);
  });

  for (const origin of ["heads", "interim"] as const)
    test(`${origin} without end are ended by a bound, and told as a failure of the host`, async () => {
      const result = await run(origin, "http", "curl -sS -m 20 -o /dev/null -w '%{http_code}' http://HOST/");
      assert.equal(result.stdout, "502", result.stderr);
      assert.ok(result.denials.some(({ kind }) => kind === "egress"));
    });

  for (const how of ["tcp", "http"] as const)
    test(`a body without end waits for a tool that does not read it, by ${how}`, async () => {
      const from = sockets.length;
      const before = process.memoryUsage().rss;
      await run(
        "floods",
        how,
        `exec 5<>/dev/tcp/\${0%:*}/\${0#*:}; printf 'GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' $0 >&5; sleep 2; head -c 4 <&5 >/dev/null`,
      );
      const written = sockets.slice(from).reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
      assert.ok(written > 0);
      // What kernels buffer on the way, several times over.
      assert.ok(written < 64 * MIB, `${written} bytes were taken of it`);
      assert.ok(process.memoryUsage().rss - before < 128 * MIB);
    });

  test("after all that the gate serves the next", async () => {
    const result = await run("stalls", "tcp", "curl -sS -m 1 http://HOST/ | head -c 4");
    assert.equal(result.stdout, "some");
  });
});
