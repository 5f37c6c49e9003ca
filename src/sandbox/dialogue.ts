import { constants as os } from "node:os";
import type { Readable } from "node:stream";
import { within } from "./deadline.ts";

/** Why a launcher could not start the tool. */
export interface StartFailure {
  /** After the program's name: `was not found`. */
  readonly why: string;
  /** `ENOENT` and its like, where the launcher can tell. */
  readonly errno?: string;
}

/** How long what a process said may be on its way after its end. */
const LAST_WORDS_MS_MAX = 1_000;

/** What the Landlock trial inside showed: one file opened before the rules and after them. */
export interface LandlockTrial {
  readonly abi: number;
  /** 0: it could be opened. */
  readonly errnoBefore: number;
  readonly errnoAfter: number;
}

/** What a launcher read inside, where a kernel other than the host's serves it. */
export interface InsideReport {
  /** `kernel`, `nnp`, `uid` and the lines of `/proc/self/status` that were asked for. */
  readonly facts: ReadonlyMap<string, string>;
  /** Lines of `/proc/self/mounts`. */
  readonly mounts: readonly string[];
}

/**
 * What a launcher says on its control channel, line by line: `C` the canary's errno, `K` the Landlock trial, `R` ready,
 * then, only if it failed, `L` what could not be set up, `E` bash's exit status or `X` the errno of a failed start.
 * Before `R` it may report with `P` and `M` what it finds inside; as a first process it ends with `Z`, the tool's end.
 * The tool never holds the channel.
 */
export class Dialogue {
  readonly ready: Promise<void>;
  /** Ready, and bubblewrap has told the host's pid of the sandbox's first process: two voices, in either order. */
  readonly readyAs: Promise<number>;
  /** The tool ended, as a sandbox's first process saw it. @see toolEnd */
  readonly ended: Promise<number>;
  /** Nobody speaks on it any more. */
  readonly closed: Promise<void>;
  /** By voice: one may speak while another is in the middle of a line. */
  readonly #heard: string[];

  constructor(...voices: readonly Readable[]) {
    const ready = Promise.withResolvers<void>();
    const child = Promise.withResolvers<number>();
    const ended = Promise.withResolvers<number>();
    this.#heard = voices.map(() => "");
    for (const [which, voice] of voices.entries()) {
      voice.on("data", (chunk: Buffer) => {
        const heard = this.#heard[which] + chunk.toString("utf8");
        this.#heard[which] = heard;
        if (/^R$/m.test(this.#said)) ready.resolve();
        const pid = /"child-pid"\s*:\s*(\d+)\D/.exec(heard)?.[1]; // of `--info-fd`
        if (pid !== undefined) child.resolve(Number(pid));
        if (this.toolEnd !== undefined) ended.resolve(this.toolEnd);
      });
      voice.on("error", () => {}); // the launcher died; its exit says so
      voice.resume(); // it may have been held back until there was somebody to listen
    }
    this.ready = ready.promise;
    this.readyAs = ready.promise.then(() => child.promise);
    this.ended = ended.promise;
    this.closed = Promise.all(voices.map((voice) => new Promise((done) => voice.on("close", done)))).then(
      () => {},
    );
  }

  /** Whole lines: the rest of one may be on its way. */
  get #said(): string {
    return this.#heard.map((heard) => heard.slice(0, heard.lastIndexOf("\n") + 1)).join("");
  }

  /** Whatever was said is heard: an exit is often told before the last words are read. */
  async lastWords(): Promise<void> {
    await within(LAST_WORDS_MS_MAX, this.closed);
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

  get inside(): InsideReport {
    const facts = [...this.#said.matchAll(/^P([A-Za-z]+):?\s+(.*)$/gm)].map(([, name = "", value = ""]) => [
      name,
      value,
    ]);
    const mounts = [...this.#said.matchAll(/^M(.+)$/gm)].map(([, line = ""]) => line);
    return { facts: new Map(facts as [string, string][]), mounts };
  }

  /** How the tool ended, as a sandbox's first process saw it; undefined while it runs, or where that process died. */
  get toolEnd(): number | undefined {
    const status = /^Z(\d+)$/m.exec(this.#said)?.[1];
    return status === undefined ? undefined : Number(status);
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
