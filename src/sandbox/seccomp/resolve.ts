import { GateError } from "../../contract/errors.ts";
import { contradiction } from "./overlap.ts";
import type {
  Action,
  ArgumentTest,
  EntryFilter,
  SeccompArch,
  SeccompProfile,
  SyscallEntry,
} from "./profile.ts";
import { SYSCALLS_ARM64 } from "./syscalls-arm64.ts";
import { SYSCALLS_X86_64 } from "./syscalls-x86-64.ts";

/** `SECCOMP_RET_` values: include/uapi/linux/seccomp.h. */
export const RET = {
  KILL_PROCESS: 0x8000_0000,
  KILL_THREAD: 0x0000_0000,
  TRAP: 0x0003_0000,
  ERRNO: 0x0005_0000,
  TRACE: 0x7ff0_0000,
  LOG: 0x7ffc_0000,
  ALLOW: 0x7fff_0000,
} as const;

const EPERM = 1;
export const ENOSYS = 38;

/** Tests that must all hold, and what the filter then returns. */
export interface Rule {
  readonly tests: readonly ArgumentTest[];
  readonly ret: number;
}

/** What a filter does with one syscall number: the first rule that holds, or else `otherwise`. */
export interface Verdict {
  readonly rules: readonly Rule[];
  readonly otherwise: number;
}

/** A profile with its names and conditions worked out for one architecture. */
export interface Resolved {
  readonly verdicts: ReadonlyMap<number, Verdict>;
  readonly otherwise: number;
  /** Names this architecture has no number for; their entries have no effect on it. */
  readonly unknown: readonly string[];
  /** Names of which one entry, without arguments, contradicts another: only one of them has an effect. */
  readonly shadowed: readonly string[];
}

const TABLES: Readonly<Record<SeccompArch, Readonly<Record<string, number>>>> = {
  "x86-64": SYSCALLS_X86_64,
  arm64: SYSCALLS_ARM64,
};
const GO_NAMES: Readonly<Record<SeccompArch, string>> = { "x86-64": "amd64", arm64: "arm64" };

/** The number of `name` on `arch`, if that architecture has the syscall. */
export function syscallNumber(arch: SeccompArch, name: string): number | undefined {
  const table = TABLES[arch];
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Every syscall name of `arch`. */
export function syscallNames(arch: SeccompArch): string[] {
  return Object.keys(TABLES[arch]);
}

/**
 * Works a profile out for one architecture and for a process without capabilities.
 *
 * Where several entries name one syscall, the verdict is libseccomp's as runc drives it. Entries that repeat the
 * default action have no effect; an entry without arguments beats those with arguments, and the first such counts; of
 * those with arguments any may hold. When two of those can hold at once and differ in action, libseccomp's answer
 * hangs on the order of its internal tree, and the profile is refused.
 *
 * @throws GateError `ERR_CONFIG_INVALID` naming the syscall.
 */
export function resolveProfile(profile: SeccompProfile, arch: SeccompArch): Resolved {
  const otherwise = returnOf(profile.defaultAction, profile.defaultErrnoRet);
  const byNumber = new Map<number, { readonly name: string; readonly rules: Rule[] }>();
  const unknown = new Set<string>();
  for (const entry of profile.syscalls) {
    if (!applies(entry, arch)) continue;
    const rule = { tests: entry.args ?? [], ret: returnOf(entry.action, entry.errnoRet) };
    for (const name of entry.names) {
      const number = syscallNumber(arch, name);
      if (number === undefined) {
        unknown.add(name);
        continue;
      }
      const known = byNumber.get(number);
      if (known === undefined) byNumber.set(number, { name, rules: [rule] });
      else known.rules.push(rule);
    }
  }
  const verdicts = new Map<number, Verdict>();
  const shadowed: string[] = [];
  for (const [number, { name, rules }] of byNumber) {
    const fixed = rules.find((rule) => rule.tests.length === 0 && rule.ret !== otherwise);
    const conditional = rules.filter((rule) => rule.tests.length > 0);
    if (fixed === undefined) refuseContradictions(name, conditional);
    verdicts.set(
      number,
      fixed === undefined
        ? { rules: conditional.filter((rule) => rule.ret !== otherwise), otherwise }
        : { rules: [], otherwise: fixed.ret },
    );
    const overruled = conditional.length < rules.length && rules.some((rule) => rule.ret !== rules[0]?.ret);
    if (overruled) shadowed.push(name);
  }
  return { verdicts, otherwise, unknown: [...unknown], shadowed };
}

function refuseContradictions(name: string, rules: readonly Rule[]): void {
  const pair = contradiction(rules);
  if (pair === undefined) return;
  throw new GateError(
    "ERR_CONFIG_INVALID",
    `seccomp profile: two entries of \`${name}\` can hold at once and differ in action: ${pair.map(describe).join(" and ")}`,
    {
      remedy:
        "make their arguments exclude each other; which entry wins would depend on who reads the profile",
    },
  );
}

function describe({ tests }: Rule): string {
  return tests
    .map(({ index, op, value, valueTwo }) => `[${index} ${op} ${value} ${valueTwo ?? ""}]`)
    .join(" ");
}

/**
 * Docker's conditions (github.com/moby/profiles, seccomp): an entry applies when all `includes` hold and no
 * `excludes` does. No capability is held, and the kernel is taken to be recent.
 */
export function applies({ includes = {}, excludes = {} }: SyscallEntry, arch: SeccompArch): boolean {
  const name = GO_NAMES[arch];
  if ((includes.caps ?? []).length > 0) return false;
  if ((includes.arches ?? []).length > 0 && includes.arches?.includes(name) !== true) return false;
  return !excludesArch(excludes, name) && excludes.minKernel === undefined;
}

function excludesArch({ arches = [] }: EntryFilter, arch: string): boolean {
  return arches.includes(arch);
}

function returnOf(action: Action, errnoRet: number = EPERM): number {
  switch (action) {
    case "SCMP_ACT_KILL":
    case "SCMP_ACT_KILL_THREAD":
      return RET.KILL_THREAD;
    case "SCMP_ACT_KILL_PROCESS":
      return RET.KILL_PROCESS;
    case "SCMP_ACT_TRAP":
      return RET.TRAP;
    case "SCMP_ACT_ERRNO":
      return RET.ERRNO + errnoRet;
    case "SCMP_ACT_TRACE":
      return RET.TRACE + errnoRet;
    case "SCMP_ACT_LOG":
      return RET.LOG;
    case "SCMP_ACT_ALLOW":
      return RET.ALLOW;
    default:
      return action satisfies never;
  }
}
