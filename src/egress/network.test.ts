import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import type { EgressFact, NetworkRule } from "../contract/network.ts";
import { encodeQuery } from "./dns-query.fixture.ts";
import type { GuardedNamespace } from "./guard.ts";
import { NameTable } from "./names.ts";
import { type NetworkParts, SandboxNetwork } from "./network.ts";

interface Bench extends AsyncDisposable {
  readonly network: SandboxNetwork;
  readonly space: GuardedNamespace;
  readonly facts: EgressFact[];
  /** Of the one listener, and of the resolver, on loopback here. */
  readonly port: number;
  readonly dnsPort: number;
  readonly given: GuardedNamespace[];
  readonly ended: () => number;
  /** Connections that the host of the rule got. */
  readonly reached: Socket[];
}

interface Asked extends Pick<NetworkParts, "bounds"> {
  readonly rule?: Partial<NetworkRule>;
  /** What the host does with a connection. */
  readonly host?: (socket: Socket) => void;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A network whose sockets are on loopback, in place of a namespace's; the host of its one rule is there too. */
async function openBench({ rule = {}, host = (socket) => socket.end(), bounds }: Asked = {}): Promise<Bench> {
  const reached: Socket[] = [];
  const origin = createServer((socket) => {
    reached.push(socket.on("error", () => {}).resume());
    host(socket);
  });
  const inside = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const dns = createSocket("udp4").bind(0, "127.0.0.1");
  const [originPort, port] = await Promise.all([
    listening(origin),
    listening(inside),
    once(dns, "listening"),
  ]);
  const own: NetworkRule = {
    host: "a.test",
    ports: [originPort],
    protocol: "tcp",
    allowPrivate: true,
    ...rule,
  };
  const table = new NameTable([own]);
  table.lookup("a.test");
  const [at] = table.listeners();
  let ended = 0;
  const space: GuardedNamespace = {
    ...{ userNamespace: "/proc/self/ns/user", netNamespace: "/proc/self/ns/net", pid: process.pid },
    ...{ identity: "net:[1]", alive: true, dns },
    servers: new Map([[`${at?.address}:${at?.port}`, inside]]),
    [Symbol.asyncDispose]: async () => {
      ended += 1;
    },
  };
  const given: GuardedNamespace[] = [];
  const network = new SandboxNetwork({
    space,
    table,
    giveBack: async (one) => void given.push(one),
    resolver: { resolve: async () => ["127.0.0.1"] },
    ...{ credentials: [], trust: undefined },
    opening: { authority: undefined, outside: () => createSecureContext() },
    ...(bounds === undefined ? {} : { bounds }),
  });
  const facts: EgressFact[] = [];
  network.follow((fact) => facts.push(fact));
  return {
    ...{ network, space, facts, port, dnsPort: dns.address().port, given, reached, ended: () => ended },
    async [Symbol.asyncDispose]() {
      await network[Symbol.asyncDispose]();
      for (const socket of reached) socket.destroy();
      for (const server of [inside, origin]) server.close();
      await new Promise<void>((done) => {
        try {
          dns.close(() => done());
        } catch {
          done(); // a bound closed it
        }
      });
    },
  };
}

/** A tool that has ended before anything of what it did is looked at here. */
function run(script: string): void {
  const { status, stderr } = spawnSync("perl", ["-MIO::Socket::INET", "-e", script], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

/** However it ends. */
async function closed(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  if (!socket.closed) await new Promise<void>((done) => socket.once("close", () => done()));
}

const connections = ({ facts }: Bench): readonly EgressFact[] =>
  facts.filter(({ kind }) => kind === "connection");

test("what a tool sent just before its end gets out, and is recorded", async () => {
  await using bench = await openBench({ host: () => {} });
  run(
    `for (1 .. 20) { my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:${bench.port}") or die $!; print $s "x"; close $s }`,
  );
  await bench.network.drain();
  assert.equal(connections(bench).length, 20);
  assert.deepEqual(
    connections(bench).map(({ verdict, bytesSent }) => [verdict, bytesSent]),
    Array.from({ length: 20 }, () => ["allowed", 1]),
  );
});

test("names that it asked for just before its end are recorded, as its own", async () => {
  await using bench = await openBench();
  const names = Array.from({ length: 30 }, (_, at) => `n${at}.test`);
  const queries = names.map((name) => `"${Buffer.from(encodeQuery({ name })).toString("hex")}"`);
  run(`my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:${bench.dnsPort}", Proto => "udp") or die $!;
    send $s, pack("H*", $_), 0 for (${queries.join(", ")});`);
  await bench.network.drain();
  assert.deepEqual(
    bench.facts.map(({ kind, name }) => [kind, name]),
    names.map((name) => ["dns", name]),
  );
});

test("after the end nobody is served", async () => {
  await using bench = await openBench();
  await bench.network.drain();
  await closed(connect(bench.port, "127.0.0.1"));
  assert.deepEqual(bench.facts, []);
  assert.equal(bench.reached.length, 0);
});

test("what hangs at the end is cut off within a bound", async () => {
  await using bench = await openBench({ host: () => {} });
  const held = connect(bench.port, "127.0.0.1").on("error", () => {});
  held.write("x");
  while (bench.reached.length === 0) await sleep(5);
  await bench.network.drain();
  assert.equal(connections(bench)[0]?.why, "the sandbox was gone");
  await closed(held);
});

test("connections are counted though none is allowed, and after the last nobody listens", async () => {
  await using bench = await openBench({ rule: { host: "*.a.test" }, bounds: { connectionsEver: 5 } });
  const [server] = bench.space.servers.values();
  for (let at = 0; at < 6; at += 1) {
    assert.equal(server?.listening, true);
    await closed(connect(bench.port, "127.0.0.1"));
  }
  assert.equal(server?.listening, false);
  assert.deepEqual(new Set(connections(bench).map(({ why }) => why)), new Set(["no rule allows it"]));
});

test("after too many names nobody answers", async () => {
  await using bench = await openBench({ bounds: { questionsEver: 2 } });
  const asking = createSocket("udp4");
  for (const name of ["x.test", "y.test", "z.test"]) {
    asking.send(encodeQuery({ name }), bench.dnsPort, "127.0.0.1");
    while (!bench.facts.some((fact) => fact.name === name || (name === "z.test" && fact.name === "")))
      await sleep(5);
  }
  asking.close();
  assert.match(bench.facts.at(-1)?.why ?? "", /more than 2 names were asked for/);
  assert.throws(() => bench.space.dns.address());
});

test("without the credential that its rule adds, nothing is sent", async () => {
  await using bench = await openBench({ rule: { credential: "deploy" } });
  await closed(connect(bench.port, "127.0.0.1"));
  assert.equal(connections(bench)[0]?.why, "the credential `deploy` is not there");
  assert.equal(bench.reached.length, 0);
});

test("a namespace is given back once it was left, and ended where it was not", async () => {
  await using left = await openBench();
  await left.network.leave();
  await left.network[Symbol.asyncDispose]();
  assert.deepEqual([left.given.length, left.ended()], [1, 0]);
  const [server] = left.space.servers.values();
  assert.equal(server?.listenerCount("connection"), 0, "the next one's connections are not this one's");
  assert.equal(left.space.dns.listenerCount("message"), 0);
  await using other = await openBench();
  await other.network[Symbol.asyncDispose]();
  assert.deepEqual([other.given.length, other.ended()], [0, 1]);
});
