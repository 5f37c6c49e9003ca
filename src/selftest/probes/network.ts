import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { METADATA_IPV4 } from "../network.ts";
import type { Probe, Stage } from "../probe.ts";
import { perl } from "../program.ts";
import type { Scene } from "../scene.ts";
import { datagrams, knocking, listener } from "../stages.ts";

/**
 * Talks to an address, after a look at the routes: connecting a datagram socket sends nothing, and shows by its own
 * address whether the way leads out of this machine. If it does, that is the finding, and not one packet is sent.
 */
const TALK = `sub place { my ($family, $address, $port) = @_;
  return $family == 4 ? pack_sockaddr_in($port, inet_aton($address)) : pack_sockaddr_in6($port, inet_pton(AF_INET6, $address), $address =~ /^fe80/ ? 1 : 0) }
sub local_only { my ($family, $to) = @_; my $kind = $family == 4 ? PF_INET : PF_INET6;
  socket my $s, $kind, SOCK_DGRAM, 0 or return 1;
  if (!connect $s, $to) { return slurp('/proc/net/dev') !~ /^\\s*(?!lo:)\\S+:/m }
  my $own = getsockname $s; my $address = sub { $family == 4 ? (unpack_sockaddr_in($_[0]))[1] : (unpack_sockaddr_in6($_[0]))[1] };
  my ($from, $at) = ($address->($own), $address->($to));
  return 1 if $from eq $at || $family == 4 && $from =~ /^\\x7f/ || $family == 6 && inet_ntop(AF_INET6, $from) =~ /^(?:::1|::ffff:127\\..*)$/;
  reached('there is a way out of this machine to that address'); 0 }
sub talk { my ($family, $type, $address, $port, $words) = @_; my $to = place($family, $address, $port); local_only($family, $to) or return;
  socket my $s, $family == 4 ? PF_INET : PF_INET6, $type eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM, 0 or return;
  local $SIG{ALRM} = sub { die "late\\n" }; my $text = '';
  eval { alarm 2; if (connect $s, $to) { syswrite $s, $words if length $words; sysread $s, $text, 2000 } alarm 0; }; alarm 0; print "$text\\n" if length $text }
`;

const TALKER = perl(
  `${TALK}my ($family, $type, $address, $port) = @ARGV; talk($family, $type, $address, $port + 0, 'anybody?');`,
);

function hostListener(
  id: string,
  title: string,
  host: string,
  address: string = host,
  family = address.includes(":") ? 6 : 4,
): Probe {
  return {
    id: `network.${id}`,
    title,
    program: TALKER,
    stage: async (scene) => {
      const made = await listener(scene, { host, port: 0 });
      return { ...made, args: [`${family}`, "tcp", address, `${made.port}`] };
    },
  };
}

const LOOPBACK: readonly Probe[] = [
  hostListener("loopback", "connects to a service of the host on 127.0.0.1", "127.0.0.1"),
  hostListener("loopback-ipv6", "connects to a service of the host on ::1", "::1"),
  hostListener("loopback-any", "connects to a service of the host as 0.0.0.0", "127.0.0.1", "0.0.0.0"),
  hostListener(
    "loopback-decimal",
    "connects to a service of the host as 2130706433",
    "127.0.0.1",
    "2130706433",
  ),
  hostListener("loopback-short", "connects to a service of the host as 127.1", "127.0.0.1", "127.1"),
  hostListener(
    "loopback-mapped",
    "connects to a service of the host as ::ffff:127.0.0.1",
    "127.0.0.1",
    "::ffff:127.0.0.1",
  ),
  {
    id: "network.own-address",
    title: "connects to a service of the host on one of its own addresses",
    program:
      perl(`${TALK}my ($address, $port) = @ARGV; if (length $address) { my $to = place(4, $address, $port + 0); socket my $s, PF_INET, SOCK_STREAM, 0;
local $SIG{ALRM} = sub { die }; eval { alarm 2; if (connect $s, $to) { sysread $s, my $x, 200; print "$x\\n" } }; alarm 0 }`),
    stage: async (scene) => {
      const own = Object.values(networkInterfaces())
        .flat()
        .find((one) => one?.family === "IPv4" && !one.internal);
      const made = await listener(scene, { host: own?.address ?? "127.0.0.1", port: 0 });
      return { ...made, args: [own?.address ?? "", `${made.port}`] };
    },
  },
  ...(["127.0.0.1", "::1"] as const).map(
    (host): Probe => ({
      id: host === "::1" ? "network.udp-ipv6" : "network.udp",
      title: `sends a datagram to a service of the host on ${host}`,
      program: TALKER,
      stage: async (scene) => {
        const made = await datagrams(scene, host);
        return { ...made, args: [host === "::1" ? "6" : "4", "udp", host, `${made.port}`] };
      },
    }),
  ),
  {
    id: "network.connections",
    title: "reads the host's connections and listeners from /proc/net",
    program: perl(
      `my $hex = sprintf ':%04X ', $ARGV[0]; for my $f (glob('/proc/net/tcp*'), glob('/proc/*/net/tcp*')) { if (index(slurp($f), $hex) >= 0) { reached("the host's listener in $f"); last } }`,
    ),
    stage: async (scene) => {
      const made = await listener(scene, { host: "127.0.0.1", port: 0 });
      return { ...made, args: [`${made.port}`] };
    },
  },
];

function answered(id: string, title: string, address: string, type: "tcp" | "udp" = "tcp", port = 80): Probe {
  return {
    id: `network.${id}`,
    title,
    together: "addresses",
    outside: "network",
    program: TALKER,
    stage: () => ({ args: [address.includes(":") ? "6" : "4", type, address, `${port}`] }),
  };
}

/** Addresses that the control has on a loopback of its own; inside nothing may even lead there. */
const ELSEWHERE: readonly Probe[] = [
  answered("metadata", `asks the cloud's metadata service at ${METADATA_IPV4}`, METADATA_IPV4),
  answered("metadata-decimal", "asks the metadata service as 2852039166", "2852039166"),
  answered("metadata-hexadecimal", "asks the metadata service as 0xA9FEA9FE", "0xA9FEA9FE"),
  answered("metadata-octal", "asks the metadata service as 0251.0376.0251.0376", "0251.0376.0251.0376"),
  answered("metadata-short", "asks the metadata service as 169.254.43518", "169.254.43518"),
  answered(
    "metadata-mapped",
    "asks the metadata service as ::ffff:169.254.169.254",
    "::ffff:169.254.169.254",
  ),
  answered("metadata-nat64", "asks the metadata service as 64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
  answered("metadata-ipv6", "asks the metadata service at fd00:ec2::254", "fd00:ec2::254"),
  answered("metadata-ipv6-google", "asks the metadata service at fd20:ce::254", "fd20:ce::254"),
  answered("metadata-link-local", "asks a link-local address, fe80::a9fe:a9fe", "fe80::a9fe:a9fe"),
  answered("metadata-tasks", "asks for a task's credentials at 169.254.170.2", "169.254.170.2"),
  answered("metadata-alibaba", "asks the metadata service at 100.100.100.200", "100.100.100.200"),
  answered("metadata-azure", "asks the host's agent at 168.63.129.16", "168.63.129.16"),
  answered("private-10", "connects to a private address, 10.0.0.1", "10.0.0.1", "tcp", 443),
  answered(
    "private-172",
    "connects to the usual bridge of containers, 172.17.0.1, where a daemon may listen",
    "172.17.0.1",
    "tcp",
    2375,
  ),
  answered("private-192", "connects to a private address, 192.168.1.1", "192.168.1.1"),
  answered("public", "connects to a public address without a name", "192.0.2.1", "tcp", 443),
  answered("public-ipv6", "connects to a public IPv6 address", "2001:db8::1", "tcp", 443),
  answered("port-ssh", "connects to another port than a web server's, 22", "192.0.2.1", "tcp", 22),
  answered("port-proxy", "connects to a proxy's port, 3128", "192.0.2.1", "tcp", 3128),
  answered("quic", "sends datagrams to port 443", "192.0.2.1", "udp", 443),
  answered("time", "sends datagrams to a time server", "192.0.2.1", "udp", 123),
  answered("dns-stub", "asks the host's name server at 127.0.0.53", "127.0.0.53", "udp", 53),
  answered("dns", "asks a public name server, by datagrams, past the gate", "8.8.8.8", "udp", 53),
  answered("dns-tcp", "asks a public name server, by TCP", "8.8.8.8", "tcp", 53),
  answered("dns-tls", "asks a public name server, by TLS", "8.8.8.8", "tcp", 853),
];

const UNIX = perl(
  `my $path = shift; $path =~ s/^@/\\0/; socket my $s, PF_UNIX, SOCK_STREAM, 0; if (connect $s, pack_sockaddr_un($path)) { sysread $s, my $x, 200; print "$x\\n" }`,
);

async function socketAt(scene: Scene, path: string): Promise<Stage> {
  const made = await listener(scene, { path });
  return { ...made, args: [path.replace("\0", "@")] };
}

const LOCAL: readonly Probe[] = [
  {
    id: "network.unix",
    title: "connects to a daemon's Unix socket beside the workspace",
    program: UNIX,
    stage: (scene) => socketAt(scene, join(scene.outside, "d.sock")),
  },
  {
    id: "network.unix-granted",
    title: "connects to a daemon's Unix socket inside a folder it may read",
    grant: "read",
    program: UNIX,
    stage: (scene) => socketAt(scene, join(scene.workspace, "d.sock")),
  },
  {
    id: "network.unix-link",
    title: "connects to a daemon's Unix socket through a link in the workspace",
    program: UNIX,
    stage: async (scene) => {
      const path = join(scene.outside, "d.sock");
      scene.link(join(scene.workspace, "link.sock"), path);
      return { ...(await socketAt(scene, path)), args: ["link.sock"] };
    },
  },
  {
    id: "network.unix-late",
    title: "connects to a Unix socket that a daemon opens in the workspace while the sandbox waits",
    mayBeRefused: true,
    program: UNIX,
    stage: (scene) => {
      const path = join(scene.workspace, "late.sock");
      let made: Stage | undefined;
      return {
        args: [path],
        whileWaiting: async () => {
          made = await listener(scene, { path });
        },
        effect: () => made?.effect?.(),
        close: () => made?.close?.(),
      };
    },
  },
  {
    id: "network.abstract",
    title: "connects to a Unix socket without a file, as desktop services have",
    program: UNIX,
    stage: (scene) => socketAt(scene, `\0callgate-selftest-${scene.secret.slice(-12)}`),
  },
  {
    id: "network.inbound",
    title: "lets the host connect to it: listens on 127.0.0.1",
    program:
      perl(`my $port = shift; socket my $s, PF_INET, SOCK_STREAM, 0; setsockopt $s, SOL_SOCKET, SO_REUSEADDR, 1;
bind $s, pack_sockaddr_in($port + 0, INADDR_LOOPBACK); listen $s, 8; local $SIG{ALRM} = sub { die }; eval { alarm 3; reached('somebody of the host came in') if accept my $c, $s; }; alarm 0`),
    stage: knocking,
  },
];

export const NETWORK_PROBES: readonly Probe[] = [...LOOPBACK, ...ELSEWHERE, ...LOCAL];
