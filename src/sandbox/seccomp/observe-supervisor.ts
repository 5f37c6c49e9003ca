import type { FileAccess } from "../../contract/execution.ts";
import { observedCalls } from "./observe-program.ts";
import type { SeccompArch } from "./profile.ts";
import { syscallNumber } from "./resolve.ts";

/** Different paths, by what was done with each, that one run keeps; what comes after is counted. */
export const PATHS_MAX = 20_000;
/** All their bytes together. */
export const PATHS_BYTES_MAX: number = 4 * 1024 * 1024;
/** include/uapi/linux/limits.h: PATH_MAX, its NUL included. The kernel takes no longer one either. */
export const PATH_BYTES_MAX = 4096;

/** How an access is written between the supervisor and the gateway. */
export const ACCESS_LETTERS: Readonly<Record<FileAccess, string>> = {
  look: "l",
  read: "r",
  write: "w",
  execute: "x",
};

/**
 * Runs outside, as the sandbox's user: takes the listener from the waiting stage, reads the path that each call names
 * from the caller's memory, counts it, and tells the call to go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE).
 *
 * seccomp_unotify(2) warns that a caller may change what was read before the kernel reads it again. Here nothing is
 * decided by what was read: a tool that races feigns a path in a list for a person, and no more. Whether the call may
 * be made was decided by the default program before this one was asked; what it reaches, by the mounts and Landlock.
 *
 * A path is read by process_vm_readv(2), page by page, into one buffer; afterwards the kernel is asked whether the
 * caller still waits, so that nothing is kept of a process that came by its number later. The first call is the
 * stage's own. Linux 6.6 and later is asked to wake who waits at once (SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP), which makes
 * a call three times as fast; an older one says that it cannot. It ends when nobody is left to ask (POLLHUP) or its standard input ends, by
 * the gateway's will or its death, and then tells all it kept.
 */
export const OBSERVER: string = `
$| = 1;
my ($pid, $readv, $ppoll, $paths_max, $bytes_max) = map { $_ + 0 } splice @ARGV, 0, 5;
my %calls = map { my ($number, $flags, @paths) = split / /; ($number, [$flags, map { [split /:/] } @paths]) } @ARGV;
my $process = syscall 434, $pid, 0;
$process >= 0 or die "pidfd_open: $!\\n";
print "ready\\n";
my $taken;
until (defined $taken) {
  opendir my $folder, "/proc/$pid/fd" or die "descriptors: $!\\n";
  for my $fd (readdir $folder) {
    next unless (readlink("/proc/$pid/fd/$fd") // '') eq 'anon_inode:seccomp notify';
    $taken = syscall 438, $process, $fd + 0, 0;
    $taken >= 0 or die "pidfd_getfd: $!\\n";
  }
  select undef, undef, undef, 0.001 unless defined $taken;
}
open my $listener, '+<&=', $taken or die "listener: $!\\n";
ioctl $listener, 0x40082104, 1;
my ($bytes, $further, $unread, %seen) = (0, 0, 0);
vec(my $buffer, ${PATH_BYTES_MAX - 1}, 8) = 0;
my $local = pack 'P Q', $buffer, ${PATH_BYTES_MAX};
sub text {
  my ($thread, $at) = @_;
  my $first = 4096 - $at % 4096;
  my $remote = pack 'Q4', $at, $first, $at + $first, ${PATH_BYTES_MAX} - $first;
  my $got = syscall $readv, $thread, $local, 1, $remote, 2, 0;
  return if $got <= 0;
  my $end = index $buffer, "\\0";
  $end < 0 || $end >= $got ? undef : substr $buffer, 0, $end
}
sub base {
  my ($thread, $folder) = @_;
  my $which = !defined $folder || $folder == 0xffffff9c ? 'cwd' : "fd/$folder";
  readlink "/proc/$thread/$which"
}
sub opened {
  my ($flags) = @_;
  return 'l' if $flags & 010000000;
  $flags & 03 || $flags & 0100 || $flags & 01000 ? 'w' : 'r'
}
sub named {
  my ($thread, $number, @arguments) = @_;
  my ($flags, @paths) = @{ $calls{$number} // [0] };
  map {
    my ($folder, $at, $access) = @$_;
    my $path = $arguments[$at] ? text($thread, $arguments[$at]) : '';
    if (defined $path && $path ne '' && $path !~ m{^/}) {
      my $base = base($thread, $folder < 0 ? undef : $arguments[$folder] & 0xffffffff);
      $path = defined $base ? "$base/$path" : undef;
    }
    $access = opened($arguments[$flags]) if $access eq 'f';
    defined $path ? $path eq '' ? () : "$access$path" : undef
  } @paths
}
sub keep {
  my ($key) = @_;
  if (!defined $key) { $unread++ }
  elsif (exists $seen{$key}) { $seen{$key}++ }
  elsif (keys(%seen) < $paths_max && $bytes + length($key) <= $bytes_max) { $bytes += length $key; $seen{$key} = 1 }
  else { $further++ }
}
my $met;
for (;;) {
  my $ask = pack 'l s s l s s', 0, 1, 0, $taken, 1, 0;
  next if syscall($ppoll, $ask, 2, 0, 0, 8) < 0;
  my (undef, undef, $end, undef, undef, $event) = unpack 'l s s l s s', $ask;
  unless ($event & 1) { last if $end || $event; next }
  my $call = "\\0" x 80;
  ioctl $listener, 0xc0502100, $call or next;
  my ($id, $thread, undef, $number, undef, undef, @arguments) = unpack 'Q L L L L Q Q6', $call;
  if ($met) {
    my @named = named($thread, $number, @arguments);
    my $check = pack 'Q', $id;
    if (ioctl $listener, 0x40082102, $check) { keep($_) for @named }
  } else { print "met\\n"; $met = 1 }
  my $answer = pack 'Q q l L', $id, 0, 0, 1;
  ioctl $listener, 0xc0182101, $answer;
}
print substr($_, 0, 1), " $seen{$_} ", unpack('H*', substr $_, 1), "\\n" for keys %seen;
print "end $further $unread\\n";
`;

/** The words of an observer of the sandbox whose launcher is `pid`. */
export function observerWords(arch: SeccompArch, pid: number): readonly string[] {
  const calls = observedCalls(arch).map(({ number, flags = -1, paths }) => {
    const named = paths.map(
      ({ folder = -1, at, as }) => `${folder}:${at}:${as === "flags" ? "f" : ACCESS_LETTERS[as]}`,
    );
    return [number, flags, ...named].join(" ");
  });
  const numbers = ["process_vm_readv", "ppoll"].map((name) => syscallNumber(arch, name));
  return [...[pid, ...numbers, PATHS_MAX, PATHS_BYTES_MAX].map(String), ...calls];
}
