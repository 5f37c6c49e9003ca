import { digestOf } from "../../contract/ids.ts";
import { except } from "./default-profile.ts";
import type { ArgumentTest, SeccompProfile, SyscallEntry } from "./profile.ts";

/** A process id above the kernel's PID_MAX_LIMIT of 2^22 (include/linux/threads.h): no process has it. */
export const CANARY_PID = 2_147_483_646;

const ERRNO_FIRST = 1000;
const ERRNO_COUNT = 3000;

/** A profile with a canary, and the errno by which it is known. */
export interface Canary {
  readonly profile: SeccompProfile;
  /** 1000 to 3999: no errno of Linux is that high, and the kernel passes up to 4095 (MAX_ERRNO). */
  readonly errno: number;
}

/**
 * Makes `kill(CANARY_PID, …)` answer an errno derived from the rest of the profile, without reaching the kernel. A
 * launcher that sees it knows from inside that this profile is loaded; without a filter the answer is ESRCH.
 * Any other filter gives it by chance once in 3000.
 */
export function withCanary(profile: SeccompProfile): Canary {
  const digest = digestOf(JSON.stringify(profile));
  // 48 bits of the digest: exact in a number, and the bias of the remainder is far below what matters.
  const errno =
    ERRNO_FIRST + (Number.parseInt(digest.slice("sha256:".length, "sha256:".length + 12), 16) % ERRNO_COUNT);
  return {
    errno,
    profile: { ...profile, syscalls: profile.syscalls.flatMap(splitKill).concat(answer(errno)) },
  };
}

function answer(errnoRet: number): SyscallEntry {
  return {
    names: ["kill"],
    action: "SCMP_ACT_ERRNO",
    errnoRet,
    // The pid is an int: the kernel ignores the upper half of the register.
    args: [{ index: 0, value: 0xffff_ffff, valueTwo: CANARY_PID, op: "SCMP_CMP_MASKED_EQ" }],
    comment: "canary: shows from inside that this profile is loaded",
  };
}

/** An entry that names `kill` keeps its other names as they are, and `kill` for every process but the canary. */
function splitKill(entry: SyscallEntry): SyscallEntry[] {
  if (!entry.names.includes("kill")) return [entry];
  const names = entry.names.filter((name) => name !== "kill");
  const others = names.length > 0 ? [{ ...entry, names }] : [];
  const kill = except([CANARY_PID], 0, (test: ArgumentTest) => ({ ...entry, names: ["kill"], args: [test] }));
  return [...others, ...kill];
}
