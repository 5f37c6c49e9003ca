import assert from "node:assert/strict";
import { chownSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Controls } from "../../contract/execution.ts";
import { DEFAULT_LIMITS, type Profile } from "../../contract/profile.ts";
import { TIER_MINIMUMS } from "../../contract/tier.ts";
import type { Driver, JoinedNetwork } from "../driver.ts";
import { guardedNetwork } from "../evidence/network.ts";
import { buildProfile } from "../grants.ts";
import { UNCHECKED } from "../sandbox.fixture.ts";
import { type HostUser, ROOT_STANDS_BACK, sandboxUser } from "../user.ts";
import { BubblewrapDriver } from "./bubblewrap/driver.ts";
import { GREETING, keepNamespace } from "./keeper.fixture.ts";
import { OciDriver } from "./oci/driver.ts";
import { findRuntime } from "./oci/probe.ts";
import { RUNTIMES, type RuntimeName } from "./oci/runtimes.ts";

type Kind = "bubblewrap" | "bubblewrap with bash" | RuntimeName;
const KINDS: readonly Kind[] = ["bubblewrap", "bubblewrap with bash", "runc", "crun", "runsc"];
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";

/** A tool that tries its network, and says what came of it. */
const TRIES = String.raw`
use strict; use Socket; use IO::Socket::INET; use Errno ();
sub name { for my $n (keys %!) { return $n if $!{$n} && $n ne 'EWOULDBLOCK' } 'none' }
sub try { my ($what, $ok) = @_; print "$what: ", ($ok ? 'ok' : name()), "\n" }
my $in = IO::Socket::INET->new(PeerAddr => '198.18.0.2:443', Timeout => 5);
print 'server: ', $in ? scalar <$in> : name() . "\n";
$! = 0; try('other port', IO::Socket::INET->new(PeerAddr => '198.18.0.2:444', Timeout => 5));
$! = 0; try('outside', IO::Socket::INET->new(PeerAddr => '192.0.2.1:80', Timeout => 5));
print "name: ", (map { $_ ? inet_ntoa($_) : 'unknown' } scalar gethostbyname 'allowed.example'), "\n";
print "refused name: ", (map { $_ ? inet_ntoa($_) : 'unknown' } scalar gethostbyname 'refused.example'), "\n";
my $own = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "own: $!\n";
try('own server', IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $own->sockport));
$! = 0; try('raw', socket my $raw, AF_INET, SOCK_RAW, 1);
$! = 0; try('packet', socket my $packet, 17, SOCK_RAW, 0x300);
$! = 0; try('low port', IO::Socket::INET->new(LocalAddr => '198.18.0.9:80', Listen => 1));
for (['address', 'addr add 10.0.0.1/8 dev lo'], ['route', 'route add default dev lo'], ['down', 'link set lo down'], ['device', 'link add d0 type dummy']) {
  my ($what, $words) = @$_;
  print "$what: ", (system("ip $words 2>/dev/null") == 0 ? 'ok' : 'no'), "\n";
}
print "variable: $ENV{TRIAL_OF_NETWORK}\n";
`;
const EXPECTED = [
  `server: ${GREETING}`,
  "other port: ECONNREFUSED",
  "outside: ENETUNREACH",
  "name: 198.18.0.2",
  "refused name: unknown",
  "own server: ok",
];

/** A packet socket is refused by the seccomp program or by the guest's kernel, before any right is asked for. */
const REFUSED =
  /^raw: EPERM; packet: (?:EAFNOSUPPORT|EPERM); low port: EACCES; address: no; route: no; down: no; device: no; variable: said$/;

/** What a namespace may hold beside the gate's: a listener as `address:port`, or a command of `ip`; and how it is told. */
const FOREIGN = [
  ["198.18.0.3:4000", /^listeners: 198\.18\.0\.2:443, 198\.18\.0\.3:4000$/],
  ["[::1]:4000", /^listeners: 0{24}01000000:4000, 198\.18\.0\.2:443$/],
  ["udp 198.18.0.3:4000", /^UDP: .*198\.18\.0\.3:4000/],
  ["ip route add local 10.0.0.0/8 dev lo", /^routes: 10\.0\.0\.0\/8$/],
  ["ip route add default dev lo", /^routes: 0\.0\.0\.0\/0$/],
  ["ip link add d0 type bridge", /^devices: lo, d0$/],
] as const;

interface Bench extends AsyncDisposable {
  readonly driver: Driver;
  readonly user: HostUser;
  readonly folder: string;
  readonly workspace: string;
  readonly profile: Profile;
}

function openBench(kind: Kind, owner: HostUser | undefined, root?: Profile["root"]): Bench {
  const base = mkdtempSync(join(tmpdir(), "callgate-network-"));
  const workspace = mkdtempSync(join(base, "w"));
  writeFileSync(join(workspace, "a.txt"), "hello\n");
  const isRoot = process.geteuid?.() === 0;
  if (isRoot && owner !== undefined)
    for (const path of [base, workspace, join(workspace, "a.txt")]) chownSync(path, owner.uid, owner.gid);
  const user = sandboxUser(workspace);
  const folder = join(base, "state");
  const isBubblewrap = kind === "bubblewrap" || kind === "bubblewrap with bash";
  const driver = isBubblewrap
    ? new BubblewrapDriver({ folder, user, ...(kind === "bubblewrap" ? {} : { launcher: null }) })
    : new OciDriver({ folder, user, runtime: kind });
  const profile = buildProfile({
    isolation: isBubblewrap ? "process" : RUNTIMES[kind].isolation,
    root: root ?? { from: "host" },
    files: { read: ["."], write: [], hide: [] },
    environment: { PATH: "/usr/sbin:/usr/bin" },
    workspace,
    ownHidden: [],
    ownProtected: [],
    home: "/nonexistent",
    treeLimits: false,
    limits: DEFAULT_LIMITS,
  });
  const rule = { host: "allowed.example", ports: [443], protocol: "tls" } as const;
  return {
    driver,
    user,
    folder,
    workspace,
    profile: { ...profile, network: { mode: "names", allow: [rule] } },
    [Symbol.asyncDispose]: async () => {
      await driver[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    },
  };
}

async function run(
  { driver, profile }: Bench,
  network: JoinedNetwork,
  argv: readonly string[],
): Promise<{ controls: Controls; stdout: string; stderr: string }> {
  await using sandbox = await driver.open(profile, { network });
  const controls = await sandbox.inspect();
  const execution = await sandbox.release(UNCHECKED, { argv });
  assert.ok(execution.outcome === "exited", JSON.stringify(execution));
  const [stdout, stderr] = [execution.stdout, execution.stderr].map((bytes) => Buffer.from(bytes).toString());
  return { controls, stdout: stdout ?? "", stderr: stderr ?? "" };
}

async function networkOf({ driver, profile }: Bench, network: JoinedNetwork): Promise<Controls["network"]> {
  await using sandbox = await driver.open(profile, { network });
  return (await sandbox.inspect()).network;
}

function isMissing(kind: Kind): string | false {
  if (kind === "bubblewrap" || kind === "bubblewrap with bash") return false;
  return findRuntime(RUNTIMES[kind]) === undefined ? `${kind} is not installed` : false;
}

for (const kind of KINDS) {
  describe(`a guarded network in ${kind}`, { skip: isMissing(kind) }, () => {
    for (const [whose, owner] of [
      ["the user's", ROOT_STANDS_BACK],
      ["root's", undefined],
    ] as const) {
      test(`a tool reaches what the gate listens on and nothing else; the workspace is ${whose}`, async () => {
        await using bench = openBench(kind, owner);
        await using keeper = await keepNamespace(bench.user, {
          environment: { TRIAL_OF_NETWORK: "said" },
        });
        const { controls, stdout, stderr } = await run(bench, keeper.network, ["perl", "-e", TRIES]);
        const lines = stdout.trim().split("\n");
        assert.deepEqual(lines.slice(0, EXPECTED.length), EXPECTED, stderr);
        const rest = lines.slice(EXPECTED.length);
        assert.match(rest.join("; "), REFUSED, stderr);
        for (const name of TIER_MINIMUMS.critical.controls)
          if (name !== "lsm" || kind === "bubblewrap")
            assert.equal(controls[name].state, "enforced", `${name}: ${controls[name].evidence}`);
        assert.match(
          controls.network.evidence,
          /devices: lo, 1 listeners? of the gate, resolver 198\.18\.0\.1/,
        );
      });
    }

    test("the gate's authorities lie over the system's", async () => {
      await using bench = openBench(kind, undefined);
      const authorities = join(bench.workspace, "..", "authorities.pem");
      writeFileSync(authorities, `only the gate's\n${"x".repeat(220_000)}`, { mode: 0o444 });
      await using keeper = await keepNamespace(bench.user, { authorities });
      const { controls, stdout, stderr } = await run(bench, keeper.network, ["cat", BUNDLE]);
      assert.equal(stdout.length, readFileSync(authorities).length, stderr);
      assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
    });

    test("what is not the gate's in its namespace makes it unavailable, by name", async () => {
      await using bench = openBench(kind, ROOT_STANDS_BACK);
      for (const [extra, why] of FOREIGN) {
        await using keeper = await keepNamespace(bench.user, { extra: [extra] });
        const { state, evidence } = await networkOf(bench, keeper.network);
        assert.equal(state, "unavailable", `${extra}: ${evidence}`);
        assert.match(evidence, why);
      }
    });

    test("what the gate should have there and has not makes it unavailable", async () => {
      await using bench = openBench(kind, ROOT_STANDS_BACK);
      await using keeper = await keepNamespace(bench.user);
      const { network } = keeper;
      const without = [{ listeners: [] }, { listeners: [...network.listeners, "198.18.0.4:443"] }];
      for (const asked of [...without, { resolver: "198.18.0.7" }]) {
        const { state, evidence } = await networkOf(bench, { ...network, ...asked });
        assert.equal(state, "unavailable", evidence);
        assert.match(evidence, /^(?:listeners: 198\.18\.0\.2:443|UDP: 198\.18\.0\.1:53)$/);
      }
    });

    test("another namespace than it was told of is told", async () => {
      await using bench = openBench(kind, ROOT_STANDS_BACK);
      await using keeper = await keepNamespace(bench.user);
      await using other = await keepNamespace(bench.user);
      // The path leads to another one: its keeper's number was given to somebody else's.
      const network = { ...other.network, identity: keeper.network.identity };
      await using sandbox = await bench.driver.open(bench.profile, { network });
      const { state, evidence } = (await sandbox.inspect()).network;
      assert.equal(state, "unavailable");
      assert.equal(evidence, "it is not the namespace that was made for it");
    });

    test("a namespace in which the gate's sockets are gone is told", async () => {
      await using bench = openBench(kind, ROOT_STANDS_BACK);
      const keeper = await keepNamespace(bench.user);
      await using sandbox = await bench.driver.open(bench.profile, { network: keeper.network });
      await keeper[Symbol.asyncDispose]();
      const { state, evidence } = (await sandbox.inspect()).network;
      assert.equal(state, "unavailable");
      assert.match(evidence, /^listeners: none; UDP: none$/);
    });

    test("a network is needed where names are allowed, and only there", async () => {
      await using bench = openBench(kind, ROOT_STANDS_BACK);
      await using keeper = await keepNamespace(bench.user);
      const { network } = keeper;
      await assert.rejects(bench.driver.open(bench.profile), { code: "ERR_INTERNAL" });
      const none: Profile = { ...bench.profile, network: { mode: "none" } };
      await assert.rejects(bench.driver.open(none, { network }), { code: "ERR_INTERNAL" });
    });
  });
}

test("a network that is the host's is told", () => {
  const { evidence, state } = guardedNetwork(process.pid, {
    userNamespace: "/proc/self/ns/user",
    netNamespace: "/proc/self/ns/net",
    identity: readlinkSync("/proc/self/ns/net"),
    resolver: "198.18.0.1",
    listeners: [],
    environment: {},
  });
  assert.equal(state, "unavailable");
  assert.match(evidence, /^it is the host's namespace/);
});
