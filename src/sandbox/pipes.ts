import { spawn } from "node:child_process";
import {
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { GateError } from "../contract/errors.ts";
import { isAlive } from "./procfs.ts";
import type { HostUser } from "./user.ts";

/** Kept between calls and processes; more are made when as many are in use. */
const BATCH = 6;

/** One real pipe, held by this process until it is given back. */
export interface Pipe {
  readonly path: string;
  /** For the next call: nobody holds an end of it any more. */
  release(): void;
  /** Somebody may: no other call is given it. */
  retire(): void;
}

/**
 * Named pipes, made once and reused by every gateway on this state folder. Node gives a child sockets where it asks
 * for pipes, and a program that opens `/dev/stdout` by name fails on a socket. A pipe is claimed by renaming it, so
 * two processes never share one; what a crash left claimed is thrown away by the next start.
 */
export class PipeStore {
  readonly #folder: string;
  readonly #user: HostUser;
  #spare: string[] = [];
  #made = 0;

  constructor(folder: string, user: HostUser) {
    this.#folder = join(folder, `pipes-${user.uid}`);
    this.#user = user;
  }

  /** Claims `count` pipes. */
  async claim(count: number): Promise<Pipe[]> {
    const pipes: Pipe[] = [];
    while (pipes.length < count) {
      const pipe = this.#claimOne();
      if (pipe === undefined) await this.#make();
      else pipes.push(pipe);
    }
    return pipes;
  }

  #claimOne(): Pipe | undefined {
    if (this.#spare.length === 0) this.#spare = list(this.#folder).filter((name) => name.startsWith("free-"));
    for (let name = this.#spare.pop(); name !== undefined; name = this.#spare.pop()) {
      const held = join(this.#folder, `held-${process.pid}-${name.slice("free-".length)}`);
      if (!tryRename(join(this.#folder, name), held)) continue;
      return {
        path: held,
        release: () => this.#giveBack(held, name),
        retire: () => rmSync(held, { force: true }),
      };
    }
    return undefined;
  }

  #giveBack(held: string, name: string): void {
    if (tryRename(held, join(this.#folder, name))) this.#spare.push(name);
  }

  async #make(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#removeOrphans();
    const drafts: string[] = [];
    for (let i = 0; i < BATCH; i += 1) {
      this.#made += 1;
      drafts.push(join(this.#folder, `new-${process.pid}-${Date.now()}-${this.#made}`));
    }
    await run("mkfifo", ["-m", "600", ...drafts]);
    for (const draft of drafts) {
      if (process.geteuid?.() === 0) chownSync(draft, this.#user.uid, this.#user.gid);
      renameSync(draft, draft.replace("/new-", "/free-"));
    }
  }

  #removeOrphans(): void {
    for (const name of list(this.#folder)) {
      const owner = Number(/^(?:held|new)-(\d+)-/.exec(name)?.[1]);
      if (owner > 0 && owner !== process.pid && !isAlive(owner)) unlinkSync(join(this.#folder, name));
    }
  }
}

/** Opens the reading end first (it does not wait for a writer), then the writing end for the child. */
export function openForReading(path: string): { readonly read: number; readonly write: number } {
  const read = gatewayReads(path);
  return { read, write: openSync(path, constants.O_WRONLY) };
}

/** Opens the child's reading end, and our writing end. */
export function openForWriting(path: string): { readonly read: number; readonly write: number } {
  const { fd, childHasIt } = gatewayWrites(path);
  const read = openSync(path, constants.O_RDONLY);
  childHasIt();
  return { read, write: fd };
}

/** The gateway's end of a pipe that a child will write to; it does not wait for the child. */
export function gatewayReads(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
}

/**
 * The gateway's end of a pipe that a child will read from.
 * @returns also what holds the pipe open until the child has opened it; to be called then.
 */
export function gatewayWrites(path: string): { readonly fd: number; readonly childHasIt: () => void } {
  const held = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    return { fd, childHasIt: () => closeSync(held) };
  } catch (error) {
    closeSync(held);
    throw error;
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false; // another process was first
  }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const code = await new Promise<number | null>((done, fail) => {
    spawn(command, args, { stdio: "ignore", env: {} }).on("error", fail).on("close", done);
  });
  if (code !== 0) {
    throw new GateError("ERR_STATE_UNWRITABLE", "cannot make pipes in the state folder", {
      remedy: "check that it is on a file system with named pipes and has room",
    });
  }
}
