import { statSync } from "node:fs";
import { dirname } from "node:path";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../../contract/within.ts";
import type { JoinedNetwork } from "../../driver.ts";
import { perlCommand } from "../../perl.ts";
import type { HostUser } from "../../user.ts";

/**
 * Where a root gateway's grants are mounted for bubblewrap to find, in a mount namespace of its own. It covers `/tmp`
 * there because that folder is on every host and can be entered by every user; the grants were opened before.
 */
const STAGE = "/tmp";

/** A tree that is only read is mounted as it is where its file system cannot map owners. */
const SCRIPT = `
my ($stage, $uid, $gid, $user_ns, $net_ns, $count) = splice @ARGV, 0, 6;
$_ = namespace($_) for $user_ns, $net_ns;
$_ += 0 for $uid, $gid, $count;
my %maps;
call('unshare', $unshare, 0x20000);
call('propagation', 442, -100, "/\\0", 0x8000, pack('Q4', 0, 0, 1 << 19, 0), 32);
my @trees;
for (1 .. $count) {
  my ($path, $at, $owner, $group, $access, $kind) = splice @ARGV, 0, 6;
  my $tree = call($path, 428, -100, "$path\\0", 0x88001);
  if ($owner != $uid) {
    my $ns = $maps{"$owner:$group"} //= mapping($owner, $group, $uid, $gid);
    my $mapped = eval { idmap($tree, $ns); 1 };
    die "$path: its file system cannot map owners; run as its owner instead\\n" if !$mapped && $access eq 'w';
  }
  push @trees, [$tree, $at, $kind];
}
call($stage, 429, tmpfs('mode', '0755'), "\\0", -100, "$stage\\0", 4);
for (@trees) {
  my ($tree, $at, $kind) = @$_;
  if ($kind eq 'd') { mkdir $at or die "$at: $!\\n" } else { open my $file, '>', $at or die "$at: $!\\n" }
  call($at, 429, $tree, "\\0", -100, "$at\\0", 4);
}
$) = "$gid $gid"; $( = $gid; ($<, $>) = ($uid, $uid);
die "still root\\n" if $< == 0 || $> == 0 || $( == 0 || $) == 0;
enter($user_ns, 0x10000000);
enter($net_ns, 0x40000000);
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";
`;

/** Grants that the sandbox's user could not open or own by itself, and from where bubblewrap binds them instead. */
export interface Staging {
  /** Runs in front of bubblewrap, as root, and becomes it as the sandbox's user. */
  readonly command: readonly string[];
  readonly sourceOf: (path: string) => string;
}

export interface StagingOptions {
  /** Where the private copy of a granted path lies; unset: none is staged. */
  readonly copyOf?: ((path: string) => string) | undefined;
  /** Joined last thing; unset: bubblewrap makes its own. */
  readonly network?: JoinedNetwork | undefined;
}

/**
 * A gateway that is root still runs its sandboxes as somebody else, who may not enter root's folders nor write root's
 * files. Where a profile grants such, each granted tree is mounted anew with root's ownership shown as that user's
 * (an idmapped mount, mount_setattr(2)): what the tool writes is root's on disk, and no process was ever root.
 * @returns undefined where the user can open and own every grant as it is.
 */
export function stageGrants(
  { files }: Profile,
  user: HostUser,
  { copyOf = (path) => path, network }: StagingOptions = {},
): Staging | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const write = files.write.map(copyOf);
  const grants = [...files.read.map(copyOf), ...write];
  if (grants.every((path) => isOpenTo(path, user))) return undefined;
  const places = grants.map((path, index) => {
    const isFolder = statSync(path).isDirectory();
    return { path, staged: `${STAGE}/${index}`, writes: write.includes(path), isFolder };
  });
  const words = places.flatMap(({ path, staged, writes, isFolder }) => [
    path,
    staged,
    String(statSync(path).uid),
    String(statSync(path).gid),
    writes ? "w" : "r",
    isFolder ? "d" : "f",
  ]);
  const joins = network === undefined ? ["-", "-"] : [network.userNamespace, network.netNamespace];
  const ids = [STAGE, String(user.uid), String(user.gid), ...joins, String(places.length)];
  return {
    command: perlCommand(SCRIPT, [...ids, ...words]),
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
