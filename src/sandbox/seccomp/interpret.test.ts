import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  decodeProgram,
  encodeProgram,
  INSTRUCTIONS_MAX,
  type Instruction,
  OP,
  runProgram,
  validateProgram,
} from "./interpret.ts";

const op = (code: number, k = 0, jt = 0, jf = 0): Instruction => ({ code, jt, jf, k });
const RETURN_A = op(OP.RET_A);
const DATA = { nr: 7, arch: 0xc000_003e, instructionPointer: 0x1_0000_0002n, args: [0xffff_ffff_0000_0005n] };

function result(...program: readonly Instruction[]): number {
  validateProgram(program);
  return runProgram(program, DATA);
}

describe("the interpreter", () => {
  it("loads every word of struct seccomp_data where the kernel puts it", () => {
    const words = [0, 4, 8, 12, 16, 20, 60].map((offset) => result(op(OP.LD_ABS, offset), RETURN_A));
    assert.deepEqual(words, [7, 0xc000_003e, 2, 1, 5, 0xffff_ffff, 0]);
  });

  it("computes in unsigned 32 bits", () => {
    const cases: readonly (readonly [code: number, a: number, k: number, expected: number])[] = [
      [OP.ADD_K, 0xffff_ffff, 2, 1],
      [OP.SUB_K, 1, 2, 0xffff_ffff],
      [OP.MUL_K, 0xffff_ffff, 0xffff_ffff, 1],
      [OP.DIV_K, 0xffff_ffff, 2, 0x7fff_ffff],
      [OP.OR_K, 0x8000_0000, 1, 0x8000_0001],
      [OP.AND_K, 0xf000_000f, 0x8000_0001, 0x8000_0001],
      [OP.LSH_K, 1, 31, 0x8000_0000],
      [OP.RSH_K, 0x8000_0000, 31, 1],
      [OP.XOR_K, 0xffff_ffff, 1, 0xffff_fffe],
      [OP.NEG, 1, 0, 0xffff_ffff],
    ];
    for (const [code, a, k, expected] of cases) {
      assert.equal(result(op(OP.LD_IMM, a), op(code, k), RETURN_A), expected, `opcode ${code}`);
      if (code === OP.NEG) continue;
      assert.equal(
        result(op(OP.LD_IMM, a), op(OP.LDX_IMM, k), op(code | 0x08), RETURN_A),
        expected,
        `opcode ${code} X`,
      );
    }
    assert.equal(
      result(op(OP.LD_IMM, 5), op(OP.DIV_X), RETURN_A),
      0,
      "a division by a zero register returns 0",
    );
  });

  it("jumps on unsigned comparisons", () => {
    const cases: readonly (readonly [code: number, a: number, k: number, taken: boolean])[] = [
      [OP.JEQ_K, 0xffff_ffff, 0xffff_ffff, true],
      [OP.JGT_K, 0x8000_0000, 1, true],
      [OP.JGT_K, 1, 1, false],
      [OP.JGE_K, 1, 1, true],
      [OP.JGE_K, 1, 0x8000_0000, false],
      [OP.JSET_K, 0x8000_0000, 0x8000_0000, true],
      [OP.JSET_K, 0x8000_0000, 0x7fff_ffff, false],
    ];
    for (const [code, a, k, taken] of cases) {
      const ends = [op(OP.RET_K, 0), op(OP.RET_K, 1)];
      assert.equal(result(op(OP.LD_IMM, a), op(code, k, 1, 0), ...ends), taken ? 1 : 0, `opcode ${code}`);
      const program = [op(OP.LDX_IMM, k), op(OP.LD_IMM, a), op(code | 0x08, 0, 1, 0), ...ends];
      assert.equal(result(...program), taken ? 1 : 0, `opcode ${code} X`);
    }
    assert.equal(result(op(OP.JA, 1), op(OP.RET_K, 0), op(OP.RET_K, 1)), 1);
  });

  it("keeps scratch words and the index register", () => {
    assert.equal(result(op(OP.LD_IMM, 9), op(OP.ST, 15), op(OP.LD_IMM, 0), op(OP.LD_MEM, 15), RETURN_A), 9);
    assert.equal(result(op(OP.LDX_IMM, 9), op(OP.STX, 3), op(OP.LDX_MEM, 3), op(OP.TXA), RETURN_A), 9);
    assert.equal(result(op(OP.LD_IMM, 9), op(OP.TAX), op(OP.LD_IMM, 0), op(OP.TXA), RETURN_A), 9);
    assert.deepEqual(
      [result(op(OP.LD_LEN), RETURN_A), result(op(OP.LDX_LEN), op(OP.TXA), RETURN_A)],
      [64, 64],
    );
  });
});

describe("program validation", () => {
  const faults: readonly (readonly [name: string, expected: RegExp, ...program: Instruction[]])[] = [
    ["an empty program", /0 instructions/],
    [
      "an overlong program",
      /4097 instructions/,
      ...Array.from({ length: INSTRUCTIONS_MAX + 1 }, () => RETURN_A),
    ],
    ["an opcode seccomp does not admit (LD B ABS)", /opcode 0x30/, op(0x30), RETURN_A],
    ["an end that does not return", /does not return/, RETURN_A, op(OP.LD_IMM)],
    ["jt past the end", /instruction 0: jumps past/, op(OP.JEQ_K, 0, 1, 0), RETURN_A],
    ["jf past the end", /instruction 0: jumps past/, op(OP.JEQ_K, 0, 0, 1), RETURN_A],
    ["a long jump past the end", /instruction 0: jumps past/, op(OP.JA, 1), RETURN_A],
    ["an unaligned load", /loads from 2/, op(OP.LD_ABS, 2), RETURN_A],
    ["a load past the data", /loads from 64/, op(OP.LD_ABS, 64), RETURN_A],
    ["scratch word 16 stored", /scratch word 16/, op(OP.ST, 16), RETURN_A],
    ["scratch word 16 loaded", /scratch word 16/, op(OP.LDX_MEM, 16), RETURN_A],
    ["a division by zero", /divides by zero/, op(OP.DIV_K, 0), RETURN_A],
    ["a shift by 32", /shifts by 32/, op(OP.LSH_K, 32), RETURN_A],
  ];
  for (const [name, expected, ...program] of faults) {
    it(`refuses ${name}`, () => {
      assert.throws(() => decodeProgram(encodeProgram(program)), { code: "ERR_INTERNAL", message: expected });
    });
  }

  it("refuses bytes that are not whole instructions", () => {
    assert.throws(() => decodeProgram(new Uint8Array(12)), /not whole/);
  });

  it("never runs out of an unvalidated program", () => {
    assert.throws(() => runProgram([op(OP.JA, 5)], DATA), /past the end/);
  });

  it("reads back what it writes, from any offset in a buffer", () => {
    const program = [op(OP.LD_ABS, 4), op(OP.JEQ_K, 0xffff_fffe, 0, 1), op(OP.RET_K, 0x7fff_0000), RETURN_A];
    const bytes = new Uint8Array([1, 2, 3, ...encodeProgram(program)]).subarray(3);
    assert.deepEqual(decodeProgram(bytes), program);
    assert.deepEqual([...bytes.subarray(8, 16)], [0x15, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff]);
  });
});
