import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** What a capture is about: packets to or from other ports and protocols are the machine's own. */
const PORTS = [22, 53, 80, 443, 3128, 853];

/**
 * packet(7): every IPv4 and IPv6 packet on every interface but `lo`, in and out. A line for each that is TCP or UDP
 * with one of the ports, or ICMP that leaves: `interface protocol source destination`.
 */
const CAPTURE = `
use strict; use Socket;
socket(my $s, 17, 3, 0x0300) or die "socket: $!\\n";
my %ports = map { $_ => 1 } @ARGV;
$| = 1; print "ready\\n";
while (defined(my $from = recv($s, my $frame, 2048, 0))) {
  my ($family, $protocol, $index, $type) = unpack 'S n i S x C', $from;
  my $name = '';
  for my $path (glob '/sys/class/net/*') { open my $f, '<', "$path/ifindex" or next; $name = $path if <$f> == $index }
  next if $name =~ m{/lo$};
  my ($ether, $ip) = (unpack('n', substr $frame, 12, 2), substr $frame, 14);
  my ($kind, $source, $to, $rest);
  if ($ether == 0x0800) {
    my $length = (unpack('C', $ip) & 15) * 4;
    $kind = unpack 'C', substr $ip, 9, 1;
    ($source, $to) = map { join '.', unpack 'C4', substr $ip, $_, 4 } 12, 16;
    $rest = substr $ip, $length;
  } elsif ($ether == 0x86dd) {
    $kind = unpack 'C', substr $ip, 6, 1;
    ($source, $to) = map { join ':', unpack '(H4)8', substr $ip, $_, 16 } 8, 24;
    $rest = substr $ip, 40;
  } else { next }
  my ($from_port, $to_port) = ($kind == 6 || $kind == 17) ? unpack 'nn', $rest : (0, 0);
  next unless $ports{$from_port} || $ports{$to_port} || $kind == 1 || $kind == 58 && unpack("C", $rest) < 130;
  print "$name $kind $source:$from_port $to:$to_port\\n";
}
`;

/** Why packets cannot be watched here. */
export const NO_CAPTURE: string | false = process.geteuid?.() === 0 ? false : "packet sockets need root";

/** The packets that went over the host's interfaces, `lo` left out, while the work was done. */
export async function captured(
  work: () => Promise<void>,
  ports: readonly number[] = [],
): Promise<readonly string[]> {
  const child = spawn("/usr/bin/perl", ["-e", CAPTURE, ...[...PORTS, ...ports].map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk));
  try {
    while (!text.startsWith("ready\n")) await once(child.stdout, "data");
    await work();
    // What was sent is seen a moment later.
    await sleep(200);
  } finally {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  return text.split("\n").slice(1, -1);
}
