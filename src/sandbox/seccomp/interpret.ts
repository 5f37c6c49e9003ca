import { GateError } from "../../contract/errors.ts";

/** One `struct sock_filter` (include/uapi/linux/filter.h). */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** What a filter sees of one syscall: `struct seccomp_data` (include/uapi/linux/seccomp.h). */
export interface SeccompData {
  readonly nr: number;
  /** An `AUDIT_ARCH_` value. */
  readonly arch: number;
  readonly instructionPointer?: bigint;
  /** Up to six, unsigned 64 bits; those left out are 0. */
  readonly args?: readonly bigint[];
}

/** BPF_MAXINSNS, include/uapi/linux/bpf_common.h. */
export const INSTRUCTIONS_MAX = 4096;
/** sizeof(struct seccomp_data). */
const DATA_BYTES = 64;
const SCRATCH_WORDS = 16;

/**
 * Opcodes seccomp admits (kernel/seccomp.c, `seccomp_check_filter`), with include/uapi/linux/bpf_common.h's values.
 * `LD_ABS` must be aligned and inside the data; `LD_LEN` yields its size.
 */
export const OP = {
  LD_ABS: 0x20,
  LD_IMM: 0x00,
  LD_MEM: 0x60,
  LD_LEN: 0x80,
  LDX_IMM: 0x01,
  LDX_MEM: 0x61,
  LDX_LEN: 0x81,
  ST: 0x02,
  STX: 0x03,
  ADD_K: 0x04,
  ADD_X: 0x0c,
  SUB_K: 0x14,
  SUB_X: 0x1c,
  MUL_K: 0x24,
  MUL_X: 0x2c,
  DIV_K: 0x34,
  DIV_X: 0x3c,
  OR_K: 0x44,
  OR_X: 0x4c,
  AND_K: 0x54,
  AND_X: 0x5c,
  LSH_K: 0x64,
  LSH_X: 0x6c,
  RSH_K: 0x74,
  RSH_X: 0x7c,
  NEG: 0x84,
  XOR_K: 0xa4,
  XOR_X: 0xac,
  JA: 0x05,
  JEQ_K: 0x15,
  JEQ_X: 0x1d,
  JGT_K: 0x25,
  JGT_X: 0x2d,
  JGE_K: 0x35,
  JGE_X: 0x3d,
  JSET_K: 0x45,
  JSET_X: 0x4d,
  RET_K: 0x06,
  RET_A: 0x16,
  TAX: 0x07,
  TXA: 0x87,
} as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(OP));
const CLASS_JMP = 0x05;
const CLASS_RET = 0x06;

/** A program in the kernel's layout: eight bytes an instruction, little-endian on both our architectures. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [at, { code, jt, jf, k }] of program.entries()) {
    view.setUint16(at * 8, code, true);
    view.setUint8(at * 8 + 2, jt);
    view.setUint8(at * 8 + 3, jf);
    view.setUint32(at * 8 + 4, k, true);
  }
  return bytes;
}

/** @throws GateError `ERR_INTERNAL` when the bytes are not a program the kernel would take. */
export function decodeProgram(bytes: Uint8Array): Instruction[] {
  if (bytes.length % 8 !== 0) throw invalid(`${bytes.length} bytes are not whole instructions`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const program = Array.from({ length: bytes.length / 8 }, (_, at) => ({
    code: view.getUint16(at * 8, true),
    jt: view.getUint8(at * 8 + 2),
    jf: view.getUint8(at * 8 + 3),
    k: view.getUint32(at * 8 + 4, true),
  }));
  validateProgram(program);
  return program;
}

/**
 * The kernel's own checks (net/core/filter.c `bpf_check_classic`, kernel/seccomp.c `seccomp_check_filter`), except
 * that scratch words read before they are written are not looked for: the interpreter zeroes them.
 *
 * @throws GateError `ERR_INTERNAL` naming the first instruction at fault.
 */
export function validateProgram(program: readonly Instruction[]): void {
  if (program.length === 0 || program.length > INSTRUCTIONS_MAX) {
    throw invalid(`${program.length} instructions; the kernel takes 1 to ${INSTRUCTIONS_MAX}`);
  }
  for (const [at, instruction] of program.entries()) {
    const fault = faultOf(instruction, program.length - at - 1);
    if (fault !== undefined) throw invalid(`instruction ${at}: ${fault}`);
  }
  const last = program.at(-1)?.code;
  if (last !== OP.RET_K && last !== OP.RET_A) throw invalid("the last instruction does not return");
}

function faultOf({ code, jt, jf, k }: Instruction, after: number): string | undefined {
  if (!KNOWN.has(code)) return `opcode 0x${code.toString(16)} is not one seccomp admits`;
  if (code === OP.JA) return k >= after ? "jumps past the end" : undefined;
  if ((code & 0x07) === CLASS_JMP) return Math.max(jt, jf) >= after ? "jumps past the end" : undefined;
  switch (code) {
    case OP.LD_ABS:
      return k % 4 !== 0 || k >= DATA_BYTES ? `loads from ${k}` : undefined;
    case OP.LD_MEM:
    case OP.LDX_MEM:
    case OP.ST:
    case OP.STX:
      return k >= SCRATCH_WORDS ? `scratch word ${k}` : undefined;
    case OP.DIV_K:
      return k === 0 ? "divides by zero" : undefined;
    case OP.LSH_K:
    case OP.RSH_K:
      return k >= 32 ? `shifts by ${k}` : undefined;
    default:
      return undefined;
  }
}

/**
 * Runs a program as the kernel would and answers its return value (`SECCOMP_RET_` and data). Programs from outside
 * pass `decodeProgram` or `validateProgram` first; a jump out of the program throws all the same.
 */
export function runProgram(program: readonly Instruction[], data: SeccompData): number {
  const words = wordsOf(data);
  const scratch = new Uint32Array(SCRATCH_WORDS);
  let a = 0;
  let x = 0;
  // Jumps only go forward, so every step moves on and the loop is bounded by the program's length.
  for (let pc = 0; ; pc++) {
    const instruction = program[pc];
    if (instruction === undefined) throw invalid("ran past the end");
    const { code, k } = instruction;
    if ((code & 0x07) === CLASS_RET) return code === OP.RET_A ? a : k;
    if ((code & 0x07) === CLASS_JMP) {
      pc += jump(instruction, a, x);
      continue;
    }
    switch (code) {
      case OP.LD_ABS:
        a = words[k / 4] ?? 0;
        break;
      case OP.LD_IMM:
        a = k;
        break;
      case OP.LD_MEM:
        a = scratch[k] ?? 0;
        break;
      case OP.LD_LEN:
        a = DATA_BYTES;
        break;
      case OP.LDX_IMM:
        x = k;
        break;
      case OP.LDX_MEM:
        x = scratch[k] ?? 0;
        break;
      case OP.LDX_LEN:
        x = DATA_BYTES;
        break;
      case OP.ST:
        scratch[k] = a;
        break;
      case OP.STX:
        scratch[k] = x;
        break;
      case OP.TAX:
        x = a;
        break;
      case OP.TXA:
        a = x;
        break;
      default: {
        const result = arithmetic(code, a, (code & 0x08) === 0 ? k : x);
        // BPF returns 0 on a division by zero register: net/core/filter.c.
        if (result === undefined) return 0;
        a = result;
      }
    }
  }
}

function wordsOf({ nr, arch, instructionPointer = 0n, args = [] }: SeccompData): Uint32Array {
  const words = new Uint32Array(DATA_BYTES / 4);
  words[0] = nr;
  words[1] = arch;
  for (const [at, value] of [instructionPointer, ...args].slice(0, 7).entries()) {
    words[2 + at * 2] = Number(value & 0xffff_ffffn);
    words[3 + at * 2] = Number((value >> 32n) & 0xffff_ffffn);
  }
  return words;
}

function jump({ code, jt, jf, k }: Instruction, a: number, x: number): number {
  if (code === OP.JA) return k;
  const operand = (code & 0x08) === 0 ? k : x;
  switch (code & 0xf0) {
    case 0x10:
      return a === operand ? jt : jf;
    case 0x20:
      return a > operand ? jt : jf;
    case 0x30:
      return a >= operand ? jt : jf;
    default:
      return (a & operand) !== 0 ? jt : jf;
  }
}

function arithmetic(code: number, a: number, operand: number): number | undefined {
  switch (code & 0xf0) {
    case 0x00:
      return (a + operand) >>> 0;
    case 0x10:
      return (a - operand) >>> 0;
    case 0x20:
      return Math.imul(a, operand) >>> 0;
    case 0x30:
      return operand === 0 ? undefined : Math.floor(a / operand);
    case 0x40:
      return (a | operand) >>> 0;
    case 0x50:
      return (a & operand) >>> 0;
    case 0x60:
      return (a << (operand & 31)) >>> 0;
    case 0x70:
      return a >>> (operand & 31);
    case 0x80:
      return -a >>> 0;
    case 0xa0:
      return (a ^ operand) >>> 0;
    default:
      throw invalid(`opcode 0x${code.toString(16)}`);
  }
}

function invalid(message: string): GateError {
  return new GateError("ERR_INTERNAL", `BPF program: ${message}`);
}
