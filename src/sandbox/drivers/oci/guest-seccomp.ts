import type { SeccompProfile, SyscallEntry } from "../../seccomp/profile.ts";

/** errno(3), Linux: ENOSYS. What a filter's TRACE answers where nobody traces (seccomp(2)). */
export const GUEST_CANARY_ERRNO = 38;

/**
 * The same profile for gVisor's compiler, which writes a jump for every entry, past the 4096 instructions of a filter
 * with ours, and knows one errno, EPERM. So what is refused only for some arguments is left to the default action, and
 * what must read ENOSYS, the canary too, is handed to a tracer: ptrace is refused, so there is none. A test runs both:
 * no call is let through by one and not by the other.
 */
export function guestProfile({ defaultErrnoRet: _, ...profile }: SeccompProfile): SeccompProfile {
  return { ...profile, syscalls: profile.syscalls.flatMap(guestEntry) };
}

function guestEntry({ comment: _, errnoRet, ...entry }: SyscallEntry): SyscallEntry[] {
  if (entry.action !== "SCMP_ACT_ERRNO") return [entry];
  const isCanary = entry.names.length === 1 && entry.names[0] === "kill";
  if (isCanary || errnoRet === GUEST_CANARY_ERRNO) return [{ ...entry, action: "SCMP_ACT_TRACE" }];
  return []; // the default action refuses it
}

/** Reasons are for readers; runtimes are handed `config.json` as one argument, which has a bound (execve(2)). */
export function withoutComments(profile: SeccompProfile): SeccompProfile {
  return { ...profile, syscalls: profile.syscalls.map(({ comment: _, ...entry }) => entry) };
}
