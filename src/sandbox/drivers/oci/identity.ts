import { existsSync, readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../../contract/within.ts";
import { type HostUser, INSIDE } from "../../user.ts";
import type { BuildIdentity } from "./builder.ts";

/** The runtime's own root, where the gateway can map two users: one more that owns nothing (see `ROOT_STANDS_BACK`). */
const RUNTIME_STANDS_BACK: HostUser = { uid: 65_532, gid: 65_532 };

/**
 * Who a sandbox's processes are. runc sets its user to 0 before anything else, so a runtime needs a 0 of its own beside
 * the tool's user. An ordinary user without subordinate ids can map one user only: the tool is then shown as 0, in a
 * namespace where 0 is that user, and without any capability.
 */
export function identityFor(user: HostUser): BuildIdentity {
  if (process.geteuid?.() === 0)
    return { user, inside: INSIDE, runtime: { ...RUNTIME_STANDS_BACK, by: "root" } };
  const subordinate = subordinateIds();
  return subordinate === undefined
    ? { user, inside: { uid: 0, gid: 0 } }
    : { user, inside: INSIDE, runtime: { ...subordinate, by: "newuidmap" } };
}

/**
 * The same for a sandbox in a network of the gate's. newuidmap(1) maps users only for a child of its own namespace, and
 * that network's is in between: who is not root maps one user.
 */
export function networkIdentityFor(user: HostUser): BuildIdentity {
  return process.geteuid?.() === 0 ? identityFor(user) : { user, inside: { uid: 0, gid: 0 } };
}

/** The first of this user's subordinate ids (subuid(5), subgid(5)), where newuidmap(1) can map them. */
function subordinateIds(): HostUser | undefined {
  if (!existsSync("/usr/bin/newuidmap") || !existsSync("/usr/bin/newgidmap")) return undefined;
  const names = [`${process.getuid?.()}`, nameOfUser()];
  const first = (file: string): number | undefined => {
    if (!existsSync(file)) return undefined;
    const lines = readFileSync(file, "utf8").split("\n");
    const line = lines.map((text) => text.split(":")).find(([name = ""]) => names.includes(name));
    return line?.[1] === undefined ? undefined : Number(line[1]);
  };
  const [uid, gid] = [first("/etc/subuid"), first("/etc/subgid")];
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function nameOfUser(): string {
  try {
    return userInfo().username;
  } catch {
    return ""; // this user has no account
  }
}

/**
 * Whose a granted path is, where a root gateway has to show it as the sandbox's user's: see `stageGrants`. Unset: it is
 * bound as it is.
 */
export function ownersOf(
  { files }: Profile,
  user: HostUser,
  copyOf: (path: string) => string = (path) => path,
): (path: string) => HostUser | undefined {
  if (process.geteuid?.() !== 0) return () => undefined;
  const grants = [...files.read, ...files.write].map(copyOf).toSorted((a, b) => b.length - a.length);
  return (path) => {
    const grant = grants.find((root) => isWithin(path, root));
    if (grant === undefined) return undefined;
    const { uid, gid } = statSync(grant);
    return uid === user.uid ? undefined : { uid, gid };
  };
}
