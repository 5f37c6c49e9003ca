import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasEnded, readStartTicks } from "./procfs.ts";

/** What a process that may be killed leaves for the next to clean up. Durable against the end of the process only. */
export interface OwnerNote<T> {
  readonly owner: Owner;
  readonly about: T;
}

/** A process that can be told from every other: of one boot, in one process namespace. */
export interface Owner {
  readonly boot: string;
  readonly namespace: string;
  readonly pid: number;
  readonly startTicks: string;
}

export function thisProcess(): Owner {
  return {
    boot: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    namespace: readlinkSync("/proc/self/ns/pid"),
    pid: process.pid,
    startTicks: readStartTicks(process.pid) ?? "",
  };
}

/** @returns the note's path; removing it says that there is nothing left to clean up. */
export function writeNote<T>(folder: string, about: T): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${process.pid}-${randomBytes(6).toString("hex")}.json`);
  const note: OwnerNote<T> = { owner: thisProcess(), about };
  writeFileSync(path, JSON.stringify(note), { mode: 0o600, flag: "wx" });
  return path;
}

/** The notes of processes that are gone, each removed once it was dealt with. One that cannot be read is left. */
export function* deadNotes<T>(folder: string): Generator<T, void, undefined> {
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const note = readNote<T>(path);
    if (note === undefined || !isGone(note.owner)) continue;
    yield note.about;
    rmSync(path, { force: true });
  }
}

/** Of a process in another namespace nothing is known: it counts as alive until the machine has started anew. */
export function isGone({ boot, namespace, pid, startTicks }: Owner): boolean {
  const self = thisProcess();
  if (boot !== self.boot) return true;
  return namespace === self.namespace && hasEnded(pid, startTicks);
}

/** The folder is ours alone, and a note is written whole or, after a kill in between, not readable. */
function readNote<T>(path: string): OwnerNote<T> | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as OwnerNote<T>;
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".json"));
  } catch {
    return []; // nothing was ever noted
  }
}
