import { Assembler, type Target } from "./assemble.ts";
import { RET_USER_NOTIF } from "./explain-program.ts";
import { encodeProgram } from "./interpret.ts";
import type { SeccompArch } from "./profile.ts";
import { RET, syscallNumber } from "./resolve.ts";

/** `flags`: as the open's flags say. */
type NamedAs = "look" | "read" | "write" | "execute" | "flags";

/** Where the arguments of a call name a path. */
interface NamedPath {
  readonly at: number;
  /** The argument with the folder's descriptor; unset: the working directory. */
  readonly folder?: number;
  readonly as: NamedAs;
}

export interface ObservedCall {
  readonly number: number;
  readonly paths: readonly NamedPath[];
  /** The argument with an open's flags. */
  readonly flags?: number;
  /** The argument that may hold AT_EMPTY_PATH: then a descriptor is meant, whose path is known. */
  readonly mayBeEmpty?: number;
}

/** include/uapi/linux/fcntl.h. */
const AT_EMPTY_PATH = 0x1000;
/** struct seccomp_data: the words of the number and of the low half of an argument. */
const NUMBER_WORD = 0;
const argumentWord = (index: number): number => 16 + 8 * index;

const WORKING = (as: NamedAs, ...at: readonly number[]): Omit<ObservedCall, "number"> => ({
  paths: at.map((each) => ({ at: each, as })),
});
const BESIDE = (as: NamedAs, ...folders: readonly number[]): Omit<ObservedCall, "number"> => ({
  paths: folders.map((folder) => ({ folder, at: folder + 1, as })),
});

/** Each syscall's manual page. `openat2` is refused to everybody, before anybody is asked. */
const CALLS: Readonly<Record<string, Omit<ObservedCall, "number">>> = {
  open: { ...WORKING("flags", 0), flags: 1 },
  openat: { ...BESIDE("flags", 0), flags: 2 },
  creat: WORKING("write", 0),
  execve: WORKING("execute", 0),
  execveat: BESIDE("execute", 0),
  stat: WORKING("look", 0),
  lstat: WORKING("look", 0),
  newfstatat: { ...BESIDE("look", 0), mayBeEmpty: 3 },
  statx: { ...BESIDE("look", 0), mayBeEmpty: 2 },
  access: WORKING("look", 0),
  faccessat: BESIDE("look", 0),
  faccessat2: BESIDE("look", 0),
  readlink: WORKING("look", 0),
  readlinkat: BESIDE("look", 0),
  chdir: WORKING("look", 0),
  mkdir: WORKING("write", 0),
  mkdirat: BESIDE("write", 0),
  rmdir: WORKING("write", 0),
  unlink: WORKING("write", 0),
  unlinkat: BESIDE("write", 0),
  rename: WORKING("write", 0, 1),
  renameat: BESIDE("write", 0, 2),
  renameat2: BESIDE("write", 0, 2),
  link: WORKING("write", 0, 1),
  linkat: BESIDE("write", 0, 2),
  // What a symbolic link says is text, and names nothing yet.
  symlink: WORKING("write", 1),
  symlinkat: BESIDE("write", 1),
  truncate: WORKING("write", 0),
  chmod: WORKING("write", 0),
  fchmodat: BESIDE("write", 0),
  fchmodat2: BESIDE("write", 0),
  chown: WORKING("write", 0),
  lchown: WORKING("write", 0),
  fchownat: BESIDE("write", 0),
  mknod: WORKING("write", 0),
  mknodat: BESIDE("write", 0),
  utime: WORKING("write", 0),
  utimes: WORKING("write", 0),
  utimensat: BESIDE("write", 0),
};

/** The calls of an architecture that name a path. */
export function observedCalls(arch: SeccompArch): readonly ObservedCall[] {
  return Object.entries(CALLS).flatMap(([name, call]) => {
    const number = syscallNumber(arch, name);
    return number === undefined ? [] : [{ number, ...call }];
  });
}

/**
 * The program that an observing run has beside the default one, with a listener: it asks about calls that name a path
 * and lets every other pass.
 *
 * INVARIANT: nothing passes that the default program refuses, whatever is answered here. Both are asked, and the kernel
 * takes the more restrictive: an errno or a kill of the default program comes before SECCOMP_RET_USER_NOTIF
 * (seccomp_run_filters in kernel/seccomp.c), so nobody is asked about what that refuses, and "go on" is only ever said
 * of what it allows. Without its supervisor the kernel answers ENOSYS.
 */
export function observeProgram(arch: SeccompArch): Uint8Array {
  const assembler = new Assembler();
  const ask: Target = { ret: RET_USER_NOTIF };
  let next: Target = { ret: RET.ALLOW };
  for (const { number, mayBeEmpty } of observedCalls(arch)) {
    const named =
      mayBeEmpty === undefined
        ? ask
        : assembler.test(
            { word: argumentWord(mayBeEmpty), op: "anyBit", value: AT_EMPTY_PATH },
            { ret: RET.ALLOW },
            ask,
          );
    next = assembler.test({ word: NUMBER_WORD, op: "equal", value: number }, named, next);
  }
  return encodeProgram(assembler.finish(next));
}
