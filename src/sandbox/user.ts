import { statSync } from "node:fs";

/** The host's user and group that a sandbox's processes have. Never 0. */
export interface HostUser {
  readonly uid: number;
  readonly gid: number;
}

/** What a sandbox shows inside, whoever it is outside. */
export const INSIDE: {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
  readonly home: string;
} = {
  uid: 1000,
  gid: 1000,
  name: "tool",
  home: "/home/tool",
};

/**
 * Stands in when the gateway is root and so is the workspace. Debian policy section 9.2.2 keeps 65533 free of
 * packages' users, and it exists in every user namespace of the usual 65,536 ids.
 */
export const ROOT_STANDS_BACK: HostUser = { uid: 65_533, gid: 65_533 };

/**
 * Who a sandbox runs as: this process's user, or where that is root the workspace's owner, or where that is root
 * too a user that owns nothing. The host's uid 0 never enters: bubblewrap's cover of `/proc/sys` does not bind it.
 */
export function sandboxUser(workspace: string): HostUser {
  const uid = process.geteuid?.() ?? 0;
  const gid = process.getegid?.() ?? 0;
  if (uid !== 0) return { uid, gid };
  const owner = statSync(workspace);
  return owner.uid === 0
    ? ROOT_STANDS_BACK
    : { uid: owner.uid, gid: owner.gid === 0 ? owner.uid : owner.gid };
}
