import { createContext, Script } from "node:vm";

/** What one test of a pattern may take before its input is refused. */
const PATTERN_MS_MAX = 50;
/** Binary logarithm of the backtracking steps that pass without a clock. */
const FREE_STEPS_LOG2 = 22;

/** A pattern of a tool's schema took too long on this input. */
export class PatternTimeout extends Error {
  override readonly name = "PatternTimeout";
}

/** A pattern that cannot hang the gate. */
export interface Pattern {
  test(text: string): boolean;
  /** Distinct for every pattern: ajv keeps compiled patterns by it, and would use one for another. */
  toString(): string;
}

/**
 * Compiles patterns of tool schemas, which a hostile tool server may have written. One that could backtrack
 * far on the text at hand runs under a clock (about 180 us); all others run bare. Bounding the text's length
 * alone would not do: `(a+)+$` needs 40 characters to hang.
 */
export function createPatterns(): (source: string) => Pattern {
  const sandbox: { pattern: RegExp; text: string } = { pattern: /^/u, text: "" };
  let context: object | undefined;
  let script: Script | undefined;
  return (source) => {
    const pattern = new RegExp(source, "u");
    const cost = costOf(source);
    return {
      toString: () => String(pattern),
      test(text) {
        if (stepsLog2(cost, text.length) <= FREE_STEPS_LOG2) return pattern.test(text);
        context ??= createContext(sandbox);
        script ??= new Script("pattern.test(text)");
        Object.assign(sandbox, { pattern, text });
        try {
          return script.runInContext(context, { timeout: PATTERN_MS_MAX }) === true;
        } catch (cause) {
          throw new PatternTimeout(`pattern took over ${PATTERN_MS_MAX} ms`, { cause });
        } finally {
          sandbox.text = "";
        }
      },
    };
  };
}

interface Cost {
  /** Repetitions of single atoms: each may be tried at every character. */
  readonly repeats: number;
  /** Two-way choices. */
  readonly choices: number;
  /** A repeated group or a back reference: exponential for all that is known. */
  readonly unbounded: boolean;
}

function stepsLog2(cost: Cost, length: number): number {
  if (cost.unbounded) return Number.POSITIVE_INFINITY;
  return (cost.repeats + 1) * Math.log2(length + 2) + cost.choices;
}

/** An upper bound from the source alone; what it does not understand counts as unbounded. */
function costOf(source: string): Cost {
  let repeats = 0;
  let choices = 0;
  let unbounded = false;
  // Escapes and classes first, so that what they hold is not read as an operator.
  for (const [token] of source.matchAll(
    /\\[\s\S]|\[(?:\\[\s\S]|[^\]\\])*\]|\(\?|\)[*+{]|[*+]|\{\d+\}|\{|[|?]/g,
  )) {
    if (/^\\[1-9k]/.test(token) || token.startsWith(")")) unbounded = true;
    else if (token === "*" || token === "+" || token === "{") repeats += 1;
    else if (token === "|" || token === "?") choices += 1;
  }
  return { repeats, choices, unbounded };
}
