import { arch } from "node:os";

/**
 * perl is in every Debian (perl-base is essential) and can make system calls by number. What both stagings begin with.
 * The mount calls of Linux 5.12 and later have the same numbers everywhere; unshare(2), prctl(2) and setns(2) do not.
 */
export const PRELUDE = `
use strict;
our ($unshare, $prctl, $setns) = splice @ARGV, 0, 3;
$_ += 0 for $unshare, $prctl, $setns; # perl hands a string to the kernel as its address
sub call { my ($what, $number, @call) = @_; my $r = syscall $number, @call; $r >= 0 or die "$what: $!\\n"; $r }
# A user namespace that maps an owner to the sandbox's user, and who else may make files to itself: only its descriptor
# is used.
sub mapping {
  my ($owner, $group, $uid, $gid, $maker_uid, $maker_gid) = @_;
  my $line = sub { my ($out, $in, $maker) = @_; "$out $in 1\n" . (defined $maker && $maker != $out ? "$maker $maker 1\n" : '') };
  pipe my $up, my $ready; pipe my $wait, my $down;
  my $child = fork // die "fork: $!\\n";
  if (!$child) { call('unshare', $unshare, 0x10000000); syswrite $ready, 'x'; sysread $wait, my $x, 1; exec '/bin/true' }
  close $ready; sysread $up, my $x, 1 or die "a user namespace was refused\\n";
  for (['uid_map', $line->($owner, $uid, $maker_uid)], ['gid_map', $line->($group, $gid, $maker_gid)]) {
    open my $map, '>', "/proc/$child/$$_[0]" or die "$$_[0]: $!\\n";
    syswrite $map, $$_[1] or die "$$_[0]: $!\\n";
  }
  open my $ns, '<', "/proc/$child/ns/user" or die "user namespace: $!\\n";
  kill 9, $child; waitpid $child, 0;
  $ns
}
# A namespace to go into later, when its path may be out of reach.
sub namespace { my ($path) = @_; return undef if $path eq '-'; open my $ns, '<', $path or die "$path: $!\\n"; $ns }
sub enter { my ($ns, $kind) = @_; call('setns', $setns, fileno $ns, $kind) if defined $ns }
# Shows a mount with the owners that the namespace maps (mount_setattr(2)).
sub idmap { my ($tree, $ns) = @_; call('idmap', 442, $tree, "\\0", 0x9000, pack('Q4', 0x100000, 0, 0, fileno $ns), 32) }
# A tmpfs that is not mounted yet, with options as pairs.
sub tmpfs {
  my $fs = call('tmpfs', 430, "tmpfs\\0", 1);
  while (my ($key, $value) = splice @_, 0, 2) { call('tmpfs', 431, $fs, 1, "$key\\0", "$value\\0", 0) }
  call('tmpfs', 431, $fs, 6, 0, 0, 0);
  call('tmpfs', 432, $fs, 1, 0)
}
`;

const NUMBERS: Readonly<Record<string, readonly [unshare: number, prctl: number, setns: number]>> = {
  x64: [272, 157, 308],
  arm64: [97, 167, 268],
};

/** The command of a script that begins with `PRELUDE`. */
export function perlCommand(script: string, words: readonly string[]): readonly string[] {
  const numbers = NUMBERS[arch()] ?? [0, 0, 0];
  return ["/usr/bin/perl", "-e", PRELUDE + script, ...numbers.map(String), ...words];
}
