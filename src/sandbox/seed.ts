import { closeSync, constants, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { GateError } from "../contract/errors.ts";
import type { Streams } from "./cell.ts";
import { Dialogue } from "./dialogue.ts";
import type { JoinedNetwork } from "./driver.ts";
import { FD, waitingCommand } from "./launcher.ts";
import type { LimitGroup } from "./limits/backend.ts";
import { gatewayReads, gatewayWrites, type Pipe } from "./pipes.ts";
import type { Started, Starter, StartSpec } from "./starter.ts";
import type { HostUser } from "./user.ts";

const MESSAGE_BYTES_MAX = 2_000;

/** What a seed is made of, before anything is known of the call. */
export interface SeedParts {
  readonly group: LimitGroup;
  /** Standard input, output and error. */
  readonly pipes: readonly Pipe[];
  readonly starter: Starter;
  /** The seccomp program; unset: whatever it becomes brings its own. */
  readonly seccomp?: string;
  /** The small files that bubblewrap copies in, from `FD.data`. */
  readonly files: readonly string[];
  /** The native launcher; unset: bash. */
  readonly launcher: string | undefined;
  readonly requestPath: string;
}

/** As whom a seed becomes something, and with what. */
export interface Becoming {
  /** Unset: as it is. */
  readonly user?: HostUser;
  /** Where it goes in, once it is that user. */
  readonly network?: JoinedNetwork;
  /** Opened before that, from `FD.late`: files that are known only now. */
  readonly files?: readonly { readonly path: string }[];
}

/**
 * A process outside that waits, with every descriptor of a sandbox in place and already in its cgroup, to become
 * bubblewrap. Forking this process costs milliseconds, and so does the first entry into a cgroup v1 group: both lie
 * behind a call that finds a seed. It knows nothing of any caller and holds nothing of theirs.
 */
export class Seed {
  readonly group: LimitGroup;
  readonly dialogue: Dialogue;
  readonly #parts: SeedParts;
  readonly #started: Started;
  readonly #ends: Ends;
  readonly #entered: Promise<void>;
  #written = 0;
  /** Standard output and error, once they are read. */
  #attached: readonly Socket[] | undefined;

  private constructor(parts: SeedParts, started: Started, ends: Ends) {
    this.group = parts.group;
    this.#parts = parts;
    this.#started = started;
    this.#ends = ends;
    this.dialogue = new Dialogue(...started.voices);
    this.#entered = this.#enter();
  }

  /** @throws GateError `ERR_SANDBOX_START`, or the error of a file that cannot be opened; nothing is left then. */
  static async plant(parts: SeedParts): Promise<Seed> {
    const [input, output, errors] = parts.pipes;
    if (input === undefined || output === undefined || errors === undefined)
      throw new GateError("ERR_INTERNAL", "a sandbox needs three pipes");
    const opened: number[] = [];
    const keep = (fd: number): number => {
      opened.push(fd);
      return fd;
    };
    let childHasIt = (): void => {};
    try {
      const stdin = gatewayWrites(input.path);
      childHasIt = stdin.childHasIt;
      const ends = {
        stdin: keep(stdin.fd),
        stdout: keep(gatewayReads(output.path)),
        stderr: keep(gatewayReads(errors.path)),
        request: keep(
          openSync(parts.requestPath, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600),
        ),
      };
      try {
        return new Seed(parts, await parts.starter.start(startSpec(parts)), ends);
      } finally {
        unlinkSync(parts.requestPath);
      }
    } catch (error) {
      for (const fd of opened) closeSync(fd);
      throw error;
    } finally {
      childHasIt();
    }
  }

  get alive(): boolean {
    return this.#started.isAlive();
  }

  /** Exit code of what it became. */
  get exited(): Promise<number | null> {
    return this.#started.exited;
  }

  /** Of the waiting process, and of what it becomes. */
  get pid(): number {
    return this.#started.pid;
  }

  kill(): void {
    this.#started.kill();
  }

  /** Resolves when it is in its group. One that is gone already says so by its exit. */
  async entered(): Promise<void> {
    await this.#entered;
  }

  /** The seed becomes `command`. */
  become(command: readonly string[], { user, network, files = [] }: Becoming): void {
    const identity = user === undefined ? ["-", "-"] : [`${user.uid}`, `${user.gid}`];
    const joins = network === undefined ? ["-", "-"] : [network.userNamespace, network.netNamespace];
    const opens = files.flatMap(({ path }, index) => [`${FD.late + index}`, path]);
    const words = [...identity, ...joins, `${files.length}`, ...opens, ...command];
    this.send(Buffer.from(words.map((word) => `${word}\0`).join("")));
  }

  /** Appends to the request file and lets the reader go: first the seed itself, then the launcher inside. */
  send(request: Uint8Array): void {
    // A request that is cut short would be another command.
    for (let done = 0; done < request.length; ) {
      done += writeSync(this.#ends.request, request, done, request.length - done, this.#written + done);
    }
    this.#written += request.length;
    this.#started.channel.write("g");
  }

  /** For a reader that begins at the start of the file: another kernel keeps a place in it of its own. */
  rewind(): void {
    ftruncateSync(this.#ends.request);
    this.#written = 0;
  }

  attach(): Streams {
    const reading = (fd: number): Socket => new Socket({ fd, readable: true, writable: false });
    const [stdout, stderr] = [reading(this.#ends.stdout), reading(this.#ends.stderr)];
    this.#attached = [stdout, stderr];
    return { stdin: new Socket({ fd: this.#ends.stdin, readable: false, writable: true }), stdout, stderr };
  }

  /** What it has written to standard error so far. */
  complaint(): string {
    const buffer = Buffer.alloc(MESSAGE_BYTES_MAX);
    try {
      return buffer.toString("utf8", 0, readSync(this.#ends.stderr, buffer)).trim().replaceAll("bwrap: ", "");
    } catch {
      return ""; // nothing was written
    }
  }

  /** Gives everything back, once its process is gone. @returns the removal of its group, off the path. */
  discard(): Promise<void> {
    this.#started.channel.destroy();
    const isUnread = this.#attached === undefined;
    for (const fd of isUnread ? Object.values(this.#ends) : [this.#ends.request]) closeSync(fd);
    const giveBack = this.#isAtRest() ? "release" : "retire";
    for (const pipe of this.#parts.pipes) pipe[giveBack]();
    return this.group.remove();
  }

  /** Nobody holds an end any more: it ended before it was let in, or both outputs were read to their end. */
  #isAtRest(): boolean {
    return (
      (this.#attached === undefined && !this.alive) ||
      this.#attached?.every(({ closed, readableEnded }) => closed && readableEnded) === true
    );
  }

  async #enter(): Promise<void> {
    await this.group.enter(this.#started.pid).catch(() => {});
  }
}

/** The gateway's ends of a sandbox's descriptors. */
interface Ends {
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
  readonly request: number;
}

function startSpec({ pipes, seccomp, files, launcher, requestPath }: SeedParts): StartSpec {
  const [input, output, errors] = pipes.map(({ path }) => path);
  const reading = [
    [0, input],
    [FD.request, requestPath],
    ...(seccomp === undefined ? [] : [[FD.seccomp, seccomp] as const]),
    ...files.map((path, index) => [FD.data + index, path] as const),
    ...(launcher === undefined ? [] : [[FD.data + files.length, launcher] as const]),
  ] as const;
  const opening = new Map<number, { path: string; access: "r" | "w" }>([
    [1, { path: output ?? "", access: "w" }],
    [2, { path: errors ?? "", access: "w" }],
  ]);
  for (const [fd, path] of reading) opening.set(fd, { path: path ?? "", access: "r" });
  return { argv: waitingCommand(launcher), files: opening, channel: FD.control, aside: FD.info };
}
