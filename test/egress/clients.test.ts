import assert from "node:assert/strict";
import { existsSync, globSync } from "node:fs";
import { userInfo } from "node:os";
import { after, before, describe, test } from "node:test";
import { ExecInput } from "../../src/catalog/exec-input.ts";
import type { CallResult } from "../../src/contract/result.ts";
import type { IsolationClass } from "../../src/contract/tier.ts";
import { type DnsServer, startDnsServer } from "../../src/egress/dns-server.fixture.ts";
import type { Gate } from "../../src/gate.ts";
import { openGate } from "../../src/open-gate.ts";
import { nativeProgram } from "../../src/sandbox/native.ts";
import { createProject, type TestProject } from "../project.fixture.ts";
import { ALL, type Client, clients, SLOW } from "./clients.fixture.ts";
import {
  type SshServer,
  startGit,
  startHttp2,
  startHttps,
  startPostgres,
  startRedis,
  startRegistry,
  startSsh,
  type TestServer,
  testAuthority,
} from "./servers.fixture.ts";

const skip = nativeProgram("guard") === undefined ? "native/guard.c was not built" : false;
const [POSTGRES] = globSync("/usr/lib/postgresql/*/bin");
const CLASSES: readonly (readonly [IsolationClass, string | false])[] = [
  ["process", existsSync("/usr/bin/bwrap") ? false : "bubblewrap is not installed"],
  ["gvisor", existsSync("/usr/bin/runsc") ? false : "runsc is not installed"],
];
const MIB = 1024 * 1024;

/** Known before the table is made, for which servers have to run. */
const NAMES = [
  ...[
    "curl",
    "curl, HTTP/2",
    "openssl s_client",
    "git",
    "npm",
    "pip",
    "Node fetch",
    "undici",
    "Python urllib",
  ],
  ...["Python requests", "Go net/http", "Java HttpClient", "psql", "redis-cli", "ssh"],
];

describe("clients that know of no proxy", { skip }, () => {
  const servers = new Map<Client["server"], TestServer>();
  const stack = new AsyncDisposableStack();
  let project: TestProject;
  let gate: Gate;
  let dns: DnsServer;
  let all: readonly Client[] = [];

  before(async () => {
    const authority = await testAuthority();
    const start = async (name: Client["server"], server: Promise<TestServer>): Promise<void> =>
      void servers.set(name, stack.use(await server));
    await start("https", startHttps(authority));
    await start("http2", startHttp2(authority));
    await start("git", startGit(authority));
    await start("registry", startRegistry(authority, "a.test"));
    if (existsSync("/usr/bin/redis-server")) await start("redis", startRedis());
    if (POSTGRES !== undefined && hasAccount()) await start("postgres", startPostgres(POSTGRES));
    let ssh: SshServer | undefined;
    if (existsSync("/usr/sbin/sshd") && hasAccount()) {
      ssh = await startSsh(userInfo().username);
      servers.set("ssh", stack.use(ssh));
    }
    dns = stack.use(await startDnsServer({ answers: new Map([["a.test", ["127.0.0.1"]]]) }));
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"], authorities: [ca.pem] }\n`,
      "ca.pem": authority.pem,
    });
    stack.defer(() => project[Symbol.dispose]());
    all = clients({ workspace: project.workspace, ssh });
    gate = stack.use(await openGate({ workingDirectory: project.workspace, state: project.state }));
  });
  after(() => stack.disposeAsync());

  const run = (
    client: Client,
    isolation: IsolationClass,
    host: string,
    port: number,
  ): Promise<CallResult> => {
    // Whatever a server speaks, TLS is judged by the name in it and everything else is passed.
    const isTls = ["https", "http2", "git", "registry"].includes(client.server);
    return gate.call({
      tool: "callgate.exec",
      input: new ExecInput({
        command: client.command(host, port),
        hosts: [`a.test:${port},${isTls ? "tls" : "tcp"},private`],
        isolation,
        workingDirectory: project.workspace,
        read: client.read ?? [],
        environment: client.environment ?? {},
        ...(client.large === true
          ? { limits: { memoryBytes: 2048 * MIB, processes: 256, wallMs: 60_000 } }
          : {}),
      }),
    });
  };

  for (const [isolation, missing] of CLASSES) {
    describe(isolation, { skip: missing }, () => {
      for (const name of NAMES) {
        test(`${name}: the host that is allowed, and one that is not`, async (t) => {
          const client = all.find((one) => one.name === name);
          assert.ok(client, "it is in the table");
          const server = servers.get(client.server);
          if (client.skip !== false) return t.skip(client.skip);
          if (isolation === "gvisor" && client.large === true && !ALL) return t.skip(SLOW);
          if (server === undefined) return t.skip(`there is no ${client.server} server`);
          const allowed = await run(client, isolation, "a.test", server.port);
          const said = `${allowed.stdout}${allowed.stderr}`;
          assert.equal(allowed.exitCode, 0, said + JSON.stringify(allowed.error));
          assert.match(allowed.stdout, client.says, said);
          const refused = await run(client, isolation, "b.test", server.port);
          assert.notEqual(refused.exitCode, 0);
          assert.match(`${refused.stdout}${refused.stderr}`, client.complains);
          assert.ok(
            refused.denials.some(({ kind, what }) => kind === "egress" && what.includes("b.test")),
            JSON.stringify(refused.denials),
          );
          t.diagnostic(`allowed ${ms(allowed)}, refused ${ms(refused)}`);
        });
      }
    });
  }
});

function ms({ usage }: CallResult): string {
  return `${usage?.wallMs.toFixed(0)} ms`;
}

/** sshd looks whoever calls up. */
function hasAccount(): boolean {
  try {
    return userInfo().username !== "";
  } catch {
    return false;
  }
}
