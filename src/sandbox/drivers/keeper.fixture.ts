import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import type { Readable } from "node:stream";
import type { JoinedNetwork } from "../driver.ts";
import type { HostUser } from "../user.ts";

/** What the one server in a namespace says to whoever connects. */
export const GREETING = "hello from the gate";
const RESOLVER = "198.18.0.1";
const SERVER = "198.18.0.2:443";
const READY_MS_MAX = 5_000;

/**
 * The keeper: a network of its own with `lo` alone, a resolver that knows `allowed.example`, one server, and whatever
 * else a test wants to be found there. It is root of nothing: it keeps the capabilities that it has over the namespace.
 */
const KEEPER = `
use strict; use IO::Socket::IP; use IO::Select;
$SIG{PIPE} = 'IGNORE';
for (['link', 'set', 'lo', 'up'], ['route', 'add', 'local', '198.18.0.0/15', 'dev', 'lo']) { system('ip', @$_) == 0 or die "ip @$_\\n" }
for (grep { /^ip / } @ARGV) { system(split / /) == 0 or die "$_\\n" }
sub udp { my ($host, $port) = split /:/, shift; IO::Socket::IP->new(Proto => 'udp', LocalHost => $host, LocalPort => $port) or die "$host: $!\\n" }
sub tcp { my ($host, $port) = shift =~ /^\\[?(.*?)\\]?:(\\d+)$/; IO::Socket::IP->new(Proto => 'tcp', Listen => 5, LocalHost => $host, LocalPort => $port) or die "$host: $!\\n" }
my $dns = udp('${RESOLVER}:53');
my @others = map { udp(substr $_, 4) } grep { /^udp / } @ARGV;
my @servers = map { tcp($_) } '${SERVER}', grep { !/ / } @ARGV;
$| = 1; print "ready\\n";
my $all = IO::Select->new($dns, @servers, \\*STDIN);
for (;;) {
  for my $ready ($all->can_read) {
    if ($ready == \\*STDIN) { exit 0 }
    elsif ($ready == $dns) {
      my $from = recv $dns, my $query, 512, 0;
      my $end = index $query, "\\0", 12;
      my $question = substr $query, 12, $end + 5 - 12;
      my $known = substr($query, 12, $end - 12) eq "\\x07allowed\\x07example";
      my $wants = unpack 'n', substr $query, $end + 1, 2;
      my $answer = $known && $wants == 1 ? pack('n n n N n C4', 0xc00c, 1, 1, 1, 4, 198, 18, 0, 2) : '';
      send $dns, substr($query, 0, 2) . pack('n5', $known ? 0x8180 : 0x8183, 1, $answer eq '' ? 0 : 1, 0, 0) . $question . $answer, 0, $from;
    } else { my $peer = $ready->accept; print $peer "${GREETING}\\n"; close $peer }
  }
}
`;

export interface Keeper extends AsyncDisposable {
  readonly network: JoinedNetwork;
}

/** @param extra further listeners as `address:port`, sockets as `udp address:port`, or commands of `ip`. */
export async function keepNamespace(
  user: HostUser,
  { extra = [], ...asked }: Partial<JoinedNetwork> & { readonly extra?: readonly string[] } = {},
): Promise<Keeper> {
  const { uid, gid } = user;
  const isRoot = process.geteuid?.() === 0;
  const own = [
    "/usr/bin/unshare",
    "--user",
    `--map-user=${uid}`,
    `--map-group=${gid}`,
    "--net",
    "--keep-caps",
  ];
  const back = isRoot ? ["/usr/bin/setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--"] : [];
  const [program = "", ...words] = [...back, ...own, "--", "/usr/bin/perl", "-e", KEEPER, ...extra];
  const child = spawn(program, words, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: "/usr/sbin:/usr/bin" },
    cwd: "/",
  });
  await ready(child);
  return {
    network: {
      userNamespace: `/proc/${child.pid}/ns/user`,
      netNamespace: `/proc/${child.pid}/ns/net`,
      identity: readlinkSync(`/proc/${child.pid}/ns/net`),
      resolver: RESOLVER,
      listeners: [SERVER],
      environment: {},
      ...asked,
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "close");
      child.stdin?.destroy();
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function ready(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit").then(() => "");
  const said = once(child.stdout as Readable, "data", { signal: AbortSignal.timeout(READY_MS_MAX) });
  const line = await Promise.race([said.then(([chunk]) => String(chunk)), ended]);
  if (line !== "ready\n") throw new Error(`no namespace could be kept: ${line}`);
}
