import { closeSync, constants, fstatSync, linkSync, mkdirSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { openForReading, openForWriting, type Pipe } from "../../pipes.ts";
import { INIT_FD } from "./init.ts";

/** By the names that the container's first process opens; the first three are the tool's own. */
const TO_CONTAINER = ["in", "go", "hold"] as const;
const FROM_CONTAINER = ["out", "err", "up", "end"] as const;
export const PIPE_COUNT: number = TO_CONTAINER.length + FROM_CONTAINER.length;

type Name = (typeof TO_CONTAINER)[number] | (typeof FROM_CONTAINER)[number];

/** The gateway's ends of one container's pipes, and the folder in which it finds the other ends. */
export interface Channels {
  readonly folder: string;
  readonly ends: Readonly<Record<Name, number>>;
  /** A file of the request, empty until it is written whole. */
  readonly request: number;
  /** Whether that process of this host holds our pipe: then it is this container's first, whatever was said of it. */
  isHeldBy(pid: number): boolean;
  /**
   * Takes the names away, and the ends that were held so that nobody waits in open(2).
   * INVARIANT: this comes before a tool is let in, so that no tool can open a channel by name.
   */
  seal(): void;
  /** Closes those of `ends` that nobody took over, and removes the folder. */
  close(taken: readonly Name[]): void;
}

/** Makes the folder. The pipes are links to those of the store, which outlive it. */
export function openChannels(folder: string, pipes: readonly Pipe[]): Channels {
  mkdirSync(folder, { mode: 0o755 });
  const opened: number[] = [];
  const held: number[] = [];
  const ends: Partial<Record<Name, number>> = {};
  try {
    for (const [index, name] of [...TO_CONTAINER, ...FROM_CONTAINER].entries()) {
      const path = join(folder, name);
      linkSync(pipes[index]?.path ?? "", path);
      const isDown = index < TO_CONTAINER.length;
      const { read, write } = isDown ? openForWriting(path) : openForReading(path);
      opened.push(read, write);
      held.push(isDown ? read : write);
      ends[name] = isDown ? write : read;
    }
    // The launcher reads it as somebody else, and opens it while it is empty.
    const request = openSync(
      join(folder, "request"),
      constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
      0o644,
    );
    return channelsOf(folder, ends as Record<Name, number>, request, held);
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function channelsOf(folder: string, ends: Record<Name, number>, request: number, held: number[]): Channels {
  const release = (): void => {
    for (let fd = held.pop(); fd !== undefined; fd = held.pop()) closeSync(fd);
  };
  return {
    folder,
    ends,
    request,
    isHeldBy: (pid) => isSameFile(`/proc/${pid}/fd/${INIT_FD.end}`, ends.end),
    seal: () => {
      for (const name of [...Object.keys(ends), "request"]) rmSync(join(folder, name));
      release();
    },
    close: (taken) => {
      release();
      const left = (Object.keys(ends) as Name[]).filter((name) => !taken.includes(name));
      for (const fd of [request, ...left.map((name) => ends[name])]) closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isSameFile(path: string, fd: number): boolean {
  try {
    const [theirs, ours] = [statSync(path), fstatSync(fd)];
    return theirs.dev === ours.dev && theirs.ino === ours.ino;
  } catch {
    return false; // no such process here, or not one that may be looked at
  }
}
