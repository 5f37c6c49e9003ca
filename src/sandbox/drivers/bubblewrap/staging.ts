import { statSync } from "node:fs";
import { arch } from "node:os";
import { dirname } from "node:path";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../grants.ts";
import type { HostUser } from "../../user.ts";

/**
 * Where a root gateway's grants are mounted for bubblewrap to find, in a mount namespace of its own. It covers `/tmp`
 * there because that folder is on every host and can be entered by every user; the grants were opened before.
 */
const STAGE = "/tmp";

/** unshare(2); the mount calls of Linux 5.12 and later have the same numbers everywhere. */
const UNSHARE: Readonly<Record<string, number>> = { x64: 272, arm64: 97 };

/**
 * perl is in every Debian (perl-base is essential) and can make system calls by number. The native launcher of a later
 * version takes this over. A tree that is only read is mounted as it is where its file system cannot map owners.
 */
const SCRIPT = `
use strict;
my ($unshare, $stage, $uid, $gid, $count) = splice @ARGV, 0, 5;
$_ += 0 for $unshare, $uid, $gid, $count; # perl hands a string to the kernel as its address
sub call { my ($what, $number, @call) = @_; my $r = syscall $number, @call; $r >= 0 or die "$what: $!\\n"; $r }
# A user namespace that maps each owner to the sandbox's user: only its descriptor is used.
sub mapping {
  my ($owner, $group) = @_;
  pipe my $up, my $ready; pipe my $wait, my $down;
  my $child = fork // die "fork: $!\\n";
  if (!$child) { call('unshare', $unshare, 0x10000000); syswrite $ready, 'x'; sysread $wait, my $x, 1; exec '/bin/true' }
  close $ready; sysread $up, my $x, 1 or die "a user namespace was refused\\n";
  for (['uid_map', "$owner $uid 1"], ['gid_map', "$group $gid 1"]) {
    open my $map, '>', "/proc/$child/$$_[0]" or die "$$_[0]: $!\\n";
    syswrite $map, $$_[1] or die "$$_[0]: $!\\n";
  }
  open my $ns, '<', "/proc/$child/ns/user" or die "user namespace: $!\\n";
  kill 9, $child; waitpid $child, 0;
  $ns
}
my %maps;
call('unshare', $unshare, 0x20000);
call('propagation', 442, -100, "/\\0", 0x8000, pack('Q4', 0, 0, 1 << 19, 0), 32);
my @trees;
for (1 .. $count) {
  my ($path, $at, $owner, $group, $access, $kind) = splice @ARGV, 0, 6;
  my $tree = call($path, 428, -100, "$path\\0", 0x88001);
  if ($owner != $uid) {
    my $ns = $maps{"$owner:$group"} //= mapping($owner, $group);
    my $mapped = eval { call('idmap', 442, $tree, "\\0", 0x9000, pack('Q4', 0x100000, 0, 0, fileno $ns), 32); 1 };
    die "$path: its file system cannot map owners; run as its owner instead\\n" if !$mapped && $access eq 'w';
  }
  push @trees, [$tree, $at, $kind];
}
my $fs = call('tmpfs', 430, "tmpfs\\0", 1);
call('tmpfs', 431, $fs, 1, "mode\\0", "0755\\0", 0);
call('tmpfs', 431, $fs, 6, 0, 0, 0);
call($stage, 429, call('tmpfs', 432, $fs, 1, 0), "\\0", -100, "$stage\\0", 4);
for (@trees) {
  my ($tree, $at, $kind) = @$_;
  if ($kind eq 'd') { mkdir $at or die "$at: $!\\n" } else { open my $file, '>', $at or die "$at: $!\\n" }
  call($at, 429, $tree, "\\0", -100, "$at\\0", 4);
}
$) = "$gid $gid"; $( = $gid; ($<, $>) = ($uid, $uid);
die "still root\\n" if $< == 0 || $> == 0 || $( == 0 || $) == 0;
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";
`;

/** Grants that the sandbox's user could not open or own by itself, and from where bubblewrap binds them instead. */
export interface Staging {
  /** Runs in front of bubblewrap, as root, and becomes it as the sandbox's user. */
  readonly command: readonly string[];
  readonly sourceOf: (path: string) => string;
}

/**
 * A gateway that is root still runs its sandboxes as somebody else, who may not enter root's folders nor write root's
 * files. Where a profile grants such, each granted tree is mounted anew with root's ownership shown as that user's
 * (an idmapped mount, mount_setattr(2)): what the tool writes is root's on disk, and no process was ever root.
 * @returns undefined where the user can open and own every grant as it is.
 */
export function stageGrants({ files }: Profile, user: HostUser): Staging | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const grants = [...files.read, ...files.write];
  if (grants.every((path) => isOpenTo(path, user))) return undefined;
  const places = grants.map((path, index) => {
    const isFolder = statSync(path).isDirectory();
    return { path, staged: `${STAGE}/${index}`, writes: files.write.includes(path), isFolder };
  });
  const words = places.flatMap(({ path, staged, writes, isFolder }) => [
    path,
    staged,
    String(statSync(path).uid),
    String(statSync(path).gid),
    writes ? "w" : "r",
    isFolder ? "d" : "f",
  ]);
  const ids = [
    String(UNSHARE[arch()] ?? 0),
    STAGE,
    String(user.uid),
    String(user.gid),
    String(places.length),
  ];
  return {
    command: ["/usr/bin/perl", "-e", SCRIPT, ...ids, ...words],
    sourceOf: (path) => {
      const holding = places.filter((place) => isWithin(path, place.path));
      const place = holding.toSorted((a, b) => b.path.length - a.path.length)[0];
      return place === undefined ? path : `${place.staged}${path.slice(place.path.length)}`;
    },
  };
}

/** Whether the user owns it, and may enter every folder on the way. */
function isOpenTo(path: string, { uid, gid }: HostUser): boolean {
  if (statSync(path).uid !== uid) return false;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const entry = statSync(folder);
    const search = entry.uid === uid ? 0o100 : entry.gid === gid ? 0o010 : 0o001;
    if ((entry.mode & search) === 0) return false;
    if (folder === "/") return true;
  }
}
