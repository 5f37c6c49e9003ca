import { type Instruction, OP } from "./interpret.ts";

/** Where control goes next: out of the program, or to code placed earlier (a program is built from its end). */
export type Target =
  | { readonly ret: number }
  | {
      /** The instruction's distance from the end. */
      readonly at: number;
      /** The offset in `struct seccomp_data` whose word that code expects in the accumulator. */
      readonly word: number;
    };

/** A word of `struct seccomp_data`, tested. `masked` compares after `AND` with `mask`. */
export type WordTest =
  | { readonly word: number; readonly op: "equal" | "greater" | "atLeast" | "anyBit"; readonly value: number }
  | { readonly word: number; readonly op: "masked"; readonly mask: number; readonly value: number };

/** jt and jf are eight bits; a branch has two targets, and placing code for one moves the other away by a few. */
const REACH = 255 - 8;

const JUMPS = { equal: OP.JEQ_K, greater: OP.JGT_K, atLeast: OP.JGE_K, anyBit: OP.JSET_K, masked: OP.JEQ_K };

/**
 * Builds a program from its end, so that every jump's distance is known when it is written: classic BPF jumps
 * forward only. It remembers which word each branch leaves in the accumulator and loads only what is missing.
 */
export class Assembler {
  readonly #reversed: Instruction[] = [];
  readonly #returns = new Map<number, number>();
  /** For each piece of code, the latest load placed in front of it. */
  readonly #loads = new Map<number, number>();

  /** Code that tests a word and goes on to `yes` or `no`; it expects that word loaded. */
  test(test: WordTest, yes: Target, no: Target): Target {
    // After AND the accumulator no longer holds the word itself.
    const held = test.op === "masked" ? undefined : test.word;
    const whenYes = this.#enter(yes, held);
    const whenNo = this.#enter(no, held);
    const jt = this.#distance(whenYes);
    const jf = this.#distance(whenNo);
    this.#place({ code: JUMPS[test.op], jt, jf, k: test.value });
    if (test.op === "masked") this.#place({ code: OP.AND_K, jt: 0, jf: 0, k: test.mask });
    return { at: this.#reversed.length - 1, word: test.word };
  }

  /** The finished program, which starts at `start`. */
  finish(start: Target): Instruction[] {
    const first = this.#enter(start, undefined);
    const skip = this.#distance(first);
    if (skip > 0) this.#place({ code: OP.JA, jt: 0, jf: 0, k: skip });
    return this.#reversed.toReversed();
  }

  /** A place within reach that leads to `target`, when the accumulator holds the word at `held`. */
  #enter(target: Target, held: number | undefined): number {
    if ("ret" in target) return this.#return(target.ret);
    if (target.word === held) return this.#within(target.at);
    const loaded = this.#loads.get(target.at);
    if (loaded !== undefined && this.#distance(loaded) <= REACH) return loaded;
    if (this.#distance(target.at) > 0)
      this.#place({ code: OP.JA, jt: 0, jf: 0, k: this.#distance(target.at) });
    const load = this.#place({ code: OP.LD_ABS, jt: 0, jf: 0, k: target.word });
    this.#loads.set(target.at, load);
    return load;
  }

  #return(value: number): number {
    const placed = this.#returns.get(value);
    if (placed !== undefined && this.#distance(placed) <= REACH) return placed;
    // Out of reach, another return costs no more than a jump to the first.
    const at = this.#place({ code: OP.RET_K, jt: 0, jf: 0, k: value });
    this.#returns.set(value, at);
    return at;
  }

  #within(at: number): number {
    const distance = this.#distance(at);
    return distance <= REACH ? at : this.#place({ code: OP.JA, jt: 0, jf: 0, k: distance });
  }

  /** How many instructions a jump written now would skip to land on `at`. */
  #distance(at: number): number {
    return this.#reversed.length - 1 - at;
  }

  #place(instruction: Instruction): number {
    return this.#reversed.push(instruction) - 1;
  }
}
