import { type Digest, digestOf } from "../../contract/ids.ts";
import { defaultSeccomp } from "./default.ts";
import { decodeProgram, encodeProgram, type Instruction, OP } from "./interpret.ts";
import type { SeccompArch } from "./profile.ts";
import { RET, syscallNumber } from "./resolve.ts";

/** include/uapi/linux/seccomp.h: `SECCOMP_RET_USER_NOTIF` and `SECCOMP_FILTER_FLAG_NEW_LISTENER`. */
export const RET_USER_NOTIF = 0x7fc0_0000;
export const NEW_LISTENER = 0x8;
const RET_ACTION = 0xffff_0000;
const EBUSY = 16;
const FLAGS_WORD = 16 + 8;

/**
 * The programs of an explaining run: wherever the default program answers an errno, these ask a supervisor, which
 * gives that same errno and tells what it saw.
 *
 * INVARIANT: neither lets through a call that the default program refuses. Without a listener the kernel answers
 * ENOSYS to SECCOMP_RET_USER_NOTIF (seccomp_do_user_notification in kernel/seccomp.c), so with the supervisor not yet
 * there, or gone, every refused call stays refused.
 */
export interface ExplainPrograms {
  /** Loaded by whoever builds the sandbox. Its canary answers as the default program's does. */
  readonly outer: Uint8Array;
  /** Of `outer`. */
  readonly digest: Digest;
  /**
   * Loaded on top with a listener: of two filters that answer alike the newer counts. It refuses a further listener,
   * which could answer "go on" to a call: the kernel refuses that only while this one's supervisor lives.
   */
  readonly inner: Uint8Array;
}

export function explainPrograms(arch: SeccompArch): ExplainPrograms {
  const { program, canaryErrno } = defaultSeccomp(arch);
  const asking = decodeProgram(program).map((instruction) => asked(instruction, canaryErrno));
  const outer = encodeProgram(asking);
  return { outer, digest: digestOf(outer), inner: encodeProgram([...noFurtherListener(arch), ...asking]) };
}

function asked(instruction: Instruction, canaryErrno: number): Instruction {
  const { code, k } = instruction;
  const refuses = code === OP.RET_K && (k & RET_ACTION) >>> 0 === RET.ERRNO && k !== RET.ERRNO + canaryErrno;
  return refuses ? { ...instruction, k: RET_USER_NOTIF } : instruction;
}

/** Before everything else, the ABI's check too: what another ABI calls by this number, `outer` kills. */
function noFurtherListener(arch: SeccompArch): readonly Instruction[] {
  const plain = { jt: 0, jf: 0 };
  return [
    { ...plain, code: OP.LD_ABS, k: 0 },
    { code: OP.JEQ_K, jt: 0, jf: 3, k: syscallNumber(arch, "seccomp") ?? 0 },
    { ...plain, code: OP.LD_ABS, k: FLAGS_WORD },
    { code: OP.JSET_K, jt: 0, jf: 1, k: NEW_LISTENER },
    { ...plain, code: OP.RET_K, k: RET.ERRNO + EBUSY },
  ];
}
