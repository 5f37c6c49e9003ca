import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** What changes a file system: the points between which a kill, or before which a full disk, can come. */
const MUTATORS = [
  "chmodSync",
  "copyFileSync",
  "fchmodSync",
  "fsyncSync",
  "linkSync",
  "mkdirSync",
  "renameSync",
  "rmdirSync",
  "symlinkSync",
  "unlinkSync",
  "writeFileSync",
] as const;

/** Makes the `at`th call that changes a file system, counted from 1, do `fault` before it is made. */
export function faultAt(at: number, fault: () => void): { readonly calls: () => number; restore(): void } {
  const table = fs as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
  const real = MUTATORS.map((name) => [name, table[name]] as const);
  let calls = 0;
  for (const [name, original] of real) {
    table[name] = (...args) => {
      calls += 1;
      if (calls === at) fault();
      return original?.(...args);
    };
  }
  syncBuiltinESMExports();
  return {
    calls: () => calls,
    restore: () => {
      for (const [name, original] of real) if (original !== undefined) table[name] = original;
      syncBuiltinESMExports();
    },
  };
}

/** As `faultAt`, at the first call of one function whose first argument fits. */
export function faultAtName(
  name: (typeof MUTATORS)[number],
  fits: (first: string) => boolean,
  fault: () => void,
): { restore(): void } {
  const table = fs as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
  const real = table[name];
  let isDone = false;
  table[name] = (...args) => {
    if (!isDone && fits(String(args[0]))) {
      isDone = true;
      fault();
    }
    return real?.(...args);
  };
  syncBuiltinESMExports();
  return {
    restore: () => {
      if (real !== undefined) table[name] = real;
      syncBuiltinESMExports();
    },
  };
}
