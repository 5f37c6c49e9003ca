import { arch } from "node:os";
import { resolve } from "node:path";
import { Guard } from "./guard.ts";

export const GUARD_PROGRAM: string = resolve(import.meta.dirname, `../../native/bin/guard-${arch()}`);

/** A user that is not root, for tests that may be run as root. */
export function startGuard(): Guard {
  const isRoot = process.geteuid?.() === 0;
  return new Guard({ program: GUARD_PROGRAM, ...(isRoot ? { user: { uid: 65_533, gid: 65_533 } } : {}) });
}
