import type { JoinedNetwork } from "../../driver.ts";
import { perlCommand } from "../../perl.ts";
import type { HostUser } from "../../user.ts";

/**
 * Where everything of one sandbox is put together, in a mount namespace of its own: it covers `/tmp` there, which is on
 * every host and open to every user. It is gone with its last process, and so is all that a runtime kept there.
 */
const STAGE = "/tmp";
export const STAGED: { readonly root: string; readonly bundle: string; readonly state: string } = {
  root: `${STAGE}/root`,
  bundle: `${STAGE}/bundle`,
  state: `${STAGE}/state`,
};

/** What the builder does to the root, in this order; paths are as the tool sees them. */
export type BuildStep =
  | { readonly kind: "folder"; readonly point: string }
  | { readonly kind: "file"; readonly point: string; readonly content: string }
  /** A small file of the host. */
  | { readonly kind: "copy"; readonly point: string; readonly source: string }
  | { readonly kind: "link"; readonly point: string; readonly target: string }
  | {
      readonly kind: "bind";
      readonly point: string;
      readonly source: string;
      readonly writable: boolean;
      /** Shown as the sandbox's user's (an idmapped mount); unset: as it is. */
      readonly owner?: HostUser;
    }
  | { readonly kind: "scratch"; readonly point: string; readonly bytes: number }
  | { readonly kind: "empty-folder" | "empty-file"; readonly point: string };

/** Who the processes of a sandbox are. */
export interface BuildIdentity {
  /** Host ids. */
  readonly user: HostUser;
  /** Ids of the tool in the sandbox. */
  readonly inside: HostUser;
  /**
   * The host ids that the runtime's own root is, and who may map them; unset: there is one user to map, and it is both.
   */
  readonly runtime?: HostUser & { readonly by: "root" | "newuidmap" };
}

/**
 * Opens every source first, then lays them out below a root that no path leaves, whatever links it holds (openat2(2),
 * RESOLVE_IN_ROOT), seals it, and becomes a runtime that is root of nothing. The new mount API needs Linux 5.12.
 */
const SCRIPT = `
my ($stage, $uid, $gid, $in_uid, $in_gid, $rt_uid, $rt_gid, $by, $user_ns, $net_ns, $config, $count) = splice @ARGV, 0, 12;
$_ += 0 for $uid, $gid, $in_uid, $in_gid, $rt_uid, $rt_gid, $count;
umask 0022;
$_ = namespace($_) for $user_ns, $net_ns;
# Who is not root has a right to the network only in the user namespace that owns it.
if ($by eq 'self') { enter($user_ns, 0x10000000); enter($net_ns, 0x40000000) }
my $gateway = $$;
pipe my $asked, my $ask; pipe my $done, my $do;
my $helper = $by eq 'self' ? 0 : fork // die "fork: $!\\n";
if (!$helper && $by ne 'self') {
  close $ask; sysread $asked, my $x, 1 or exit 1;
  for (['uid', $rt_uid, $in_uid, $uid], ['gid', $rt_gid, $in_gid, $gid]) {
    my ($kind, $zero, $in, $out) = @$_;
    if ($by eq 'newuidmap') { system("/usr/bin/new\${kind}map", $gateway, 0, $zero, 1, $in, $out, 1) == 0 or exit 1; next }
    open my $map, '>', "/proc/$gateway/\${kind}_map" or exit 1;
    syswrite $map, "0 $zero 1\\n$in $out 1\\n" or exit 1;
  }
  exit 0;
}
close $asked;
sub enter_user_namespace {
  my ($flags) = @_;
  call('user namespace', $unshare, 0x10000000 | $flags);
  if ($by eq 'self') {
    for (['setgroups', 'deny'], ['uid_map', "$in_uid $uid 1"], ['gid_map', "$in_gid $gid 1"]) {
      open my $map, '>', "/proc/self/$$_[0]" or die "$$_[0]: $!\\n";
      syswrite $map, $$_[1] or die "$$_[0]: $!\\n";
    }
    return;
  }
  syswrite $ask, 'x'; close $ask; waitpid $helper, 0;
  $? == 0 or die "a user namespace could not be given its users\\n";
  $) = '0 0'; $( = 0; ($<, $>) = (0, 0); $< = 0; # the second forgets who it was
}
$by eq 'root' ? call('mount namespace', $unshare, 0x20000) : enter_user_namespace(0x20000);
call('propagation', 442, -100, "/\\0", 0x8000, pack('Q4', 0, 0, 1 << 18, 0), 32);
sub seal { my ($tree, $attributes, $flags) = @_; call('attributes', 442, $tree, "\\0", $flags, pack('Q4', $attributes, 0, 0, 0), 32) }
my (%maps, @steps);
for (1 .. $count) {
  my ($kind, $point, $size) = splice @ARGV, 0, 3;
  my @words = splice @ARGV, 0, $size;
  if ($kind eq 'bind') {
    my ($source, $access, $owner, $group) = @words;
    my $tree = call($source, 428, -100, "$source\\0", 0x88001);
    if ($owner ne '-' && $owner != $uid) {
      my $ns = $maps{"$owner:$group"} //= mapping($owner, $group, $uid, $gid, $rt_uid, $rt_gid);
      my $mapped = eval { idmap($tree, $ns); 1 };
      die "$source: its file system cannot map owners; run as its owner instead\\n" if !$mapped && $access eq 'w';
    }
    seal($tree, $access eq 'w' ? 6 : 7, 0x9000);
    push @steps, [$kind, $point, $tree];
  } elsif ($kind eq 'copy') {
    open my $file, '<:raw', $words[0] or die "$words[0]: $!\\n";
    local $/; push @steps, ['file', $point, scalar <$file>];
  } else { push @steps, [$kind, $point, @words] }
}
sub attach { my ($tree, $to) = @_; call('mount', 429, $tree, "\\0", $to, "\\0", 0x44) }
call($stage, 429, tmpfs(mode => '0755'), "\\0", -100, "$stage\\0", 4);
for (['root', 0755], ['bundle', 0755], ['state', 0700]) {
  mkdir "$stage/$$_[0]", $$_[1] or die "$$_[0]: $!\\n";
  if ($by eq 'root') { chown $rt_uid, $rt_gid, "$stage/$$_[0]" or die "$$_[0]: $!\\n" }
}
sub write_file {
  my ($path, $content) = @_;
  open my $file, '>:raw', $path or die "$path: $!\\n"; print $file $content; close $file or die "$path: $!\\n"; chmod 0444, $path;
}
write_file("$stage/bundle/config.json", $config);
write_file("$stage/nothing", '');
my $root = tmpfs(mode => '0755');
call('root', 429, $root, "\\0", -100, "$stage/root\\0", 4);
sub at { my ($path) = @_; my $r = syscall 437, $root, ".$path\\0", my $how = pack('Q3', 0x280000, 0, 0x10), 24; $r >= 0 ? $r : undef }
sub folder {
  my ($path) = @_;
  my $known = at($path); return $known if defined $known;
  my ($above, $name) = $path =~ m{^(.*)/([^/]+)$} or die "$path: no folder\\n";
  my $parent = folder($above);
  mkdir "/proc/self/fd/$parent/$name" or die "$path: $!\\n";
  at($path) // die "$path: $!\\n"
}
sub file {
  my ($path, $content) = @_;
  my ($above, $name) = $path =~ m{^(.*)/([^/]+)$} or die "$path: no file\\n";
  my $parent = folder($above); write_file("/proc/self/fd/$parent/$name", $content);
}
for (@steps) {
  my ($kind, $point, @words) = @$_;
  if ($kind eq 'folder') { folder($point) }
  elsif ($kind eq 'file') { file($point, $words[0]) }
  elsif ($kind eq 'link') {
    my ($above, $name) = $point =~ m{^(.*)/([^/]+)$};
    my $parent = folder($above); symlink $words[0], "/proc/self/fd/$parent/$name" or die "$point: $!\\n";
  }
  elsif ($kind eq 'scratch') { attach(tmpfs(size => $words[0], mode => '1777', nr_inodes => $words[1]), folder($point)) }
  elsif ($kind eq 'empty-folder') { my $fs = tmpfs(size => 4096, mode => '0555'); seal($fs, 15, 0x1000); attach($fs, folder($point)) }
  elsif ($kind eq 'empty-file') {
    my $tree = call('nothing', 428, -100, "$stage/nothing\\0", 0x80001); seal($tree, 15, 0x1000); attach($tree, at($point) // die "$point: $!\\n");
  }
  else {
    if (-d "/proc/self/fd/$words[0]") { attach($words[0], folder($point)) }
    else { file($point, '') if !defined at($point); attach($words[0], at($point) // die "$point: $!\\n") }
  }
}
seal($root, 7, 0x1000);
if ($by eq 'root') { enter($net_ns, 0x40000000); enter_user_namespace(0x20000) }
call('pid namespace', $unshare, 0x20000000);
my $runtime = fork // die "fork: $!\\n";
call('lifetime', $prctl, 1, 9, 0, 0, 0);
if (!$runtime) {
  my $fs = call('proc', 430, "proc\\0", 1);
  call('proc', 431, $fs, 6, 0, 0, 0);
  call('proc', 429, call('proc', 432, $fs, 1, 14), "\\0", -100, "/proc\\0", 4);
  # What the seed kept for itself does not go on; runtimes count descriptors without a gap.
  $^F = 4;
  if (open my $own, '<&=', 4) { close $own }
  open my $cover, '<', '/dev/null' or die "/dev/null: $!\\n";
  exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";
}
waitpid $runtime, 0;
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
`;

/**
 * The command that builds all this and becomes the parent of `runtime`, which is a pid namespace's first process.
 * @param network joined before there is a user namespace of the runtime's; unset: the runtime makes its own
 */
export function builderCommand(
  { user, inside, runtime }: BuildIdentity,
  steps: readonly BuildStep[],
  config: string,
  command: readonly string[],
  network?: JoinedNetwork,
): readonly string[] {
  const joins = network === undefined ? ["-", "-"] : [network.userNamespace, network.netNamespace];
  const ids = [user.uid, user.gid, inside.uid, inside.gid, runtime?.uid ?? 0, runtime?.gid ?? 0];
  const words = steps.flatMap((step) => {
    const own = wordsOf(step);
    return [step.kind, step.point, `${own.length}`, ...own];
  });
  return perlCommand(SCRIPT, [
    STAGE,
    ...ids.map(String),
    runtime?.by ?? "self",
    ...joins,
    config,
    `${steps.length}`,
    ...words,
    ...command,
  ]);
}

/** A scratch of small files must not fill the kernel's memory with inodes that no limit counts. */
const SCRATCH_BYTES_PER_INODE = 4096;
const SCRATCH_INODES_MIN = 1024;

function wordsOf(step: BuildStep): readonly string[] {
  switch (step.kind) {
    case "folder":
    case "empty-folder":
    case "empty-file":
      return [];
    case "file":
      return [step.content];
    case "copy":
      return [step.source];
    case "link":
      return [step.target];
    case "bind":
      return [
        step.source,
        step.writable ? "w" : "r",
        step.owner === undefined ? "-" : `${step.owner.uid}`,
        step.owner === undefined ? "-" : `${step.owner.gid}`,
      ];
    case "scratch":
      return [
        `${step.bytes}`,
        `${Math.max(SCRATCH_INODES_MIN, Math.ceil(step.bytes / SCRATCH_BYTES_PER_INODE))}`,
      ];
    default:
      return step satisfies never;
  }
}
