import { constants as os } from "node:os";
import type { Denial } from "../../contract/execution.ts";
import { DEFAULT_PROFILE } from "./default-profile.ts";
import type { SeccompData } from "./interpret.ts";
import type { ArgumentTest, SeccompArch, SyscallEntry } from "./profile.ts";
import { ENOSYS, syscallNames, syscallNumber } from "./resolve.ts";

/** Different calls that are told apart; what comes after is counted together. */
export const DENIALS_MAX = 50;

/** What a program is told, and what a person should know of it. */
export interface Explained {
  /** `unshare`, or with the argument that decided: `socket(domain=AF_NETLINK)`. */
  readonly call: string;
  readonly reason: string;
}

/** Names of the arguments that the profile's rules look at, by their position: each syscall's manual page. */
const ARGUMENTS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  chmod: { 1: "mode" },
  clone: { 0: "flags" },
  creat: { 1: "mode" },
  fchmod: { 1: "mode" },
  fchmodat: { 2: "mode" },
  fchmodat2: { 2: "mode" },
  ioctl: { 1: "request" },
  kill: { 0: "pid" },
  mknod: { 1: "mode" },
  mknodat: { 2: "mode" },
  open: { 1: "flags", 2: "mode" },
  openat: { 2: "flags", 3: "mode" },
  personality: { 0: "persona" },
  socket: { 0: "domain", 1: "type", 2: "protocol" },
  socketpair: { 0: "domain", 1: "type", 2: "protocol" },
};

/** include/linux/socket.h, include/uapi/asm-generic/ioctls.h: what is most often met. */
const VALUES: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  domain: {
    16: "AF_NETLINK",
    17: "AF_PACKET",
    29: "AF_CAN",
    31: "AF_BLUETOOTH",
    38: "AF_ALG",
    40: "AF_VSOCK",
    44: "AF_XDP",
  },
  type: { 3: "SOCK_RAW" },
  request: { 21522: "TIOCSTI", 21532: "TIOCLINUX" },
};

/** include/uapi/linux/sched.h */
const CLONE_FLAGS: readonly (readonly [bit: number, name: string])[] = [
  [0x0002_0000, "CLONE_NEWNS"],
  [0x0200_0000, "CLONE_NEWCGROUP"],
  [0x0400_0000, "CLONE_NEWUTS"],
  [0x0800_0000, "CLONE_NEWIPC"],
  [0x1000_0000, "CLONE_NEWUSER"],
  [0x2000_0000, "CLONE_NEWPID"],
  [0x4000_0000, "CLONE_NEWNET"],
];

/** Why the default profile refuses a call, in the words of its group. For a call that it refuses only. */
export function explainRefusal(arch: SeccompArch, { nr, args = [] }: SeccompData): Explained {
  const name = syscallNames(arch).find((each) => syscallNumber(arch, each) === nr);
  if (name === undefined) {
    return {
      call: `syscall ${nr}`,
      reason: "this version knows no such call, and what is unknown is refused",
    };
  }
  const entries = DEFAULT_PROFILE.syscalls.filter(({ names }) => names.includes(name));
  const refusing = entries.find(
    ({ action, args: tests = [] }) => action === "SCMP_ACT_ERRNO" && tests.every((test) => holds(test, args)),
  );
  if (refusing !== undefined)
    return told(
      name,
      refusing,
      entries,
      (refusing.args ?? []).map(({ index }) => index),
      args,
    );
  // Nothing refuses it by name: it lacks what every entry that allows it asks for. The nearest of them tells what.
  const [nearest] = entries
    .filter(({ action }) => action === "SCMP_ACT_ALLOW")
    .map((entry) => ({ entry, failed: (entry.args ?? []).filter((test) => !holds(test, args)) }))
    .toSorted((a, b) => a.failed.length - b.failed.length || firstOf(b.failed) - firstOf(a.failed));
  if (nearest === undefined)
    return { call: name, reason: "the profile does not name it, and what is not named is refused" };
  return told(
    name,
    nearest.entry,
    entries,
    nearest.failed.map(({ index }) => index),
    args,
    "allowed are only: ",
  );
}

/** Of two that fail alike, the one that fails later speaks of what was asked for. */
function firstOf(failed: readonly ArgumentTest[]): number {
  return Math.min(...failed.map(({ index }) => index));
}

function told(
  name: string,
  entry: SyscallEntry,
  entries: readonly SyscallEntry[],
  indexes: readonly number[],
  args: readonly bigint[],
  before = "",
): Explained {
  const shown = [...new Set(indexes)].map((index) => argument(name, index, args[index] ?? 0n));
  const call = shown.length === 0 ? name : `${name}(${shown.join(", ")})`;
  return { call, reason: `${before}${reasonOf(entry, entries)}` };
}

/** A group of entries bears its reason at its first. */
function reasonOf(entry: SyscallEntry, entries: readonly SyscallEntry[]): string {
  const until = entries.slice(0, entries.indexOf(entry) + 1);
  return (
    until.findLast(({ action, comment }) => action === entry.action && comment !== undefined)?.comment ?? ""
  );
}

function argument(name: string, index: number, value: bigint): string {
  const meaning = ARGUMENTS[name]?.[index] ?? `argument ${index}`;
  // Every argument that the profile compares is an int to the kernel.
  const int = Number(value & 0xffff_ffffn);
  return `${meaning}=${valueText(meaning, name, int)}`;
}

function valueText(meaning: string, name: string, int: number): string {
  if (meaning === "mode") return `0${int.toString(8)}`;
  if (name === "clone") {
    const flags = CLONE_FLAGS.filter(([bit]) => (int & bit) !== 0).map(([, flag]) => flag);
    if (flags.length > 0) return flags.join("|");
  }
  const masked = meaning === "type" ? int & 0xf : int;
  return (
    VALUES[meaning]?.[masked] ??
    (meaning === "domain" || meaning === "protocol" ? `${int}` : `0x${int.toString(16)}`)
  );
}

function holds({ index, value, valueTwo = 0 }: ArgumentTest, args: readonly bigint[]): boolean {
  // The default profile compares through masks alone, which a test holds it to.
  const mask = BigInt(value);
  return ((args[index] ?? 0n) & mask) === (BigInt(valueTwo) & mask);
}

interface Counted extends Explained {
  readonly errno: number;
  times: number;
}

/** Counts refused calls by what refused them. */
export class SyscallTally {
  readonly #arch: SeccompArch;
  readonly #counts = new Map<string, Counted>();
  #further = 0;

  constructor(arch: SeccompArch) {
    this.#arch = arch;
  }

  add(call: SeccompData, errno: number): void {
    const explained = explainRefusal(this.#arch, call);
    const key = `${explained.call} ${errno}`;
    const known = this.#counts.get(key);
    if (known !== undefined) known.times += 1;
    else if (this.#counts.size < DENIALS_MAX) this.#counts.set(key, { ...explained, errno, times: 1 });
    else this.#further += 1;
  }

  /**
   * What was refused, what a program fails by before what libraries fall back from. A program killed by SIGSYS called
   * the kernel by another ABI, which no supervisor is asked about.
   * @param exitCode of the tool: 128 and the signal's number
   */
  denials(exitCode: number | null): readonly Denial[] {
    const counted = [...this.#counts.values()];
    const ordered = [
      ...counted.filter(({ errno }) => errno !== ENOSYS),
      ...counted.filter(({ errno }) => errno === ENOSYS),
    ];
    const told = ordered.map(
      ({ call, reason, errno, times }): Denial => ({
        kind: "syscall",
        what: call,
        why: `${errnoText(errno)}, ${times === 1 ? "once" : `${times} times`}: ${reason}`,
      }),
    );
    const killed: Denial = {
      kind: "syscall",
      what: "another ABI",
      why: "killed with SIGSYS: a call by a 32-bit or foreign ABI, whose numbers the filter does not read",
    };
    const more: Denial = { kind: "syscall", what: "others", why: `${this.#further} more calls were refused` };
    return [
      ...(exitCode === 128 + os.signals.SIGSYS ? [killed] : []),
      ...told,
      ...(this.#further > 0 ? [more] : []),
    ];
  }
}

function errnoText(errno: number): string {
  return Object.entries(os.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
