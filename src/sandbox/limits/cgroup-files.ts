import { existsSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { join } from "node:path";
import { GateError } from "../../contract/errors.ts";

/** Whether it is gone now; a group that still holds processes is not. */
export function tryRemove(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** As `tryRemove`, without blocking. */
export async function isRemoved(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** NaN for anything that is no number: no comparison with it holds. */
export function readNumber(path: string): number {
  const text = readFileSync(path, "utf8").trim();
  return /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
}

/** Null where this kernel has no such file: `memory.peak` came with Linux 5.19. */
export function readNumberIfPresent(path: string): number | null {
  return existsSync(path) ? readNumber(path) : null;
}

/** A field of a file of `name value` lines; 0 where it is not listed. */
export function readField(path: string, field: string): number {
  const line = readFileSync(path, "utf8")
    .split("\n")
    .find((candidate) => candidate.startsWith(`${field} `));
  return line === undefined ? 0 : Number(line.slice(field.length + 1));
}

export function listsProcess(path: string, pid: number): boolean {
  return readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").includes(String(pid));
}

/** @throws GateError `ERR_CONTROL_UNAVAILABLE` naming the file: what cannot be bounded does not run. */
export function writeLimit(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GateError("ERR_CONTROL_UNAVAILABLE", `a limit could not be written: ${why}`, {
      cause,
      remedy: "ask for less than the group around the gateway is given, or run `callgate doctor`",
    });
  }
}

/** For files that older kernels or builds without swap accounting lack. */
export function writeIfPresent(path: string, value: string): void {
  if (existsSync(path)) writeLimit(path, value);
}
