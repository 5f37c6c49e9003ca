import { constants as os } from "node:os";
import type { Duplex } from "node:stream";

/** Why a launcher could not start the tool. */
export interface StartFailure {
  /** After the program's name: `was not found`. */
  readonly why: string;
  /** `ENOENT` and its like, where the launcher can tell. */
  readonly errno?: string;
}

/** What the Landlock trial inside showed: one file opened before the rules and after them. */
export interface LandlockTrial {
  readonly abi: number;
  /** 0: it could be opened. */
  readonly errnoBefore: number;
  readonly errnoAfter: number;
}

/**
 * What a launcher says on its control channel, line by line: `C` the canary's errno, `K` the Landlock trial, `R` ready,
 * then, only if it failed, `L` what could not be set up, `E` bash's exit status or `X` the errno of a failed start.
 * The tool never holds the channel.
 */
export class Dialogue {
  readonly ready: Promise<void>;
  #said = "";

  constructor(channel: Duplex) {
    this.ready = new Promise((done) => {
      channel.on("data", (chunk: Buffer) => {
        this.#said += chunk;
        if (/^R$/m.test(this.#said)) done();
      });
    });
    channel.on("error", () => {}); // the launcher died; its exit says so
  }

  /** NaN where it was not tried. bash has it from the kernel's message. */
  get canaryErrno(): number {
    return Number(/^C(\d+)$|Unknown error (\d+)/m.exec(this.#said)?.slice(1).find(Boolean) ?? Number.NaN);
  }

  get landlock(): LandlockTrial | undefined {
    const match = /^K(\d+) (\d+) (\d+)$/m.exec(this.#said);
    if (match === null) return undefined;
    return { abi: Number(match[1]), errnoBefore: Number(match[2]), errnoAfter: Number(match[3]) };
  }

  /** What the launcher could not set up, in its own words. */
  get brokenSetUp(): string | undefined {
    return /^L(.+)$/m.exec(this.#said)?.[1];
  }

  get startFailure(): StartFailure | undefined {
    const errno = Number(/^X(\d+)$/m.exec(this.#said)?.[1] ?? 0);
    if (errno > 0) return { why: reasonOf(errno), errno: errnoName(errno) };
    const status = /^E(\d+)$/m.exec(this.#said)?.[1];
    if (status === undefined) return undefined;
    return { why: status === "127" ? "was not found" : "cannot be executed" };
  }
}

function reasonOf(errno: number): string {
  switch (errno) {
    case os.errno.ENOENT:
      return "was not found";
    case os.errno.EACCES:
      return "may not be executed";
    case os.errno.ENOEXEC:
      return "is not a program and does not name an interpreter with `#!`";
    case os.errno.E2BIG:
      return "was given more arguments and variables than the kernel takes";
    default:
      return "cannot be executed";
  }
}

/** @returns the symbol of an errno, or its number. */
export function errnoName(errno: number): string {
  return Object.entries(os.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
