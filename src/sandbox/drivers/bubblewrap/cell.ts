import type { ChildProcess } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import { type Cell, CLEAR_MS_MAX, type Streams } from "../../cell.ts";
import { within } from "../../deadline.ts";
import { Dialogue, type StartFailure } from "../../dialogue.ts";
import { FD } from "../../launcher.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import type { Pipe } from "../../pipes.ts";
import { hasEnded, readChildren, readStartTicks } from "../../procfs.ts";
import type { Explanation } from "../../seccomp/notify.ts";
import type { HostUser } from "../../user.ts";
import { readEvidence } from "./evidence.ts";
import type { Plan } from "./plan.ts";
import { drain, type Ends, readInfo, spawnBubblewrap } from "./spawn.ts";

/** How long a sandbox may take to be built before it counts as broken. */
const BUILD_MS_MAX = 10_000;
/** How long a sandbox that says it is ready may hold descriptors that it is about to close. */
const SETTLE_MS_MAX = 1_000;
/** How long the end of a namespace is looked for without pause. */
const SPIN_MS_MAX = 3;

/** What one sandbox is made of; `pipes` are standard input, output and error. */
export interface Parts {
  readonly plan: Plan;
  /** Runs in front of bubblewrap as root, where its user could not open a grant; else empty. */
  readonly staging: readonly string[];
  readonly profile: Profile;
  readonly group: LimitGroup;
  readonly user: HostUser;
  readonly pipes: readonly Pipe[];
  readonly stray: readonly number[];
  readonly seccomp: { readonly path: string; readonly digest: Digest; readonly canaryErrno: number };
  /** Starts the supervisor that answers for the filter; unset: the filter answers by itself. */
  readonly explain?: (launcher: number) => Promise<Explanation>;
  readonly files: readonly string[];
  /** The native launcher on the host; unset: bash serves. */
  readonly launcher: string | undefined;
  readonly requestPath: string;
  readonly onClosed: (removal: Promise<void>) => void;
}

export class BubblewrapCell implements Cell {
  readonly exited: Promise<number | null>;
  readonly #parts: Parts;
  readonly #child: ChildProcess;
  readonly #control: Duplex;
  readonly #dialogue: Dialogue;
  readonly #ends: Ends;
  #attached = false;
  #init = 0;
  #initTicks: string | undefined;
  #launcher = 0;
  #explanation: Explanation | undefined;

  private constructor(parts: Parts, child: ChildProcess, ends: Ends) {
    this.#parts = parts;
    this.#child = child;
    this.#ends = ends;
    this.#control = child.stdio[FD.control] as Duplex;
    this.#dialogue = new Dialogue(this.#control);
    this.exited = new Promise((done) => {
      child.on("error", () => done(null));
      child.on("exit", (code) => done(code));
    });
  }

  /** Spawns bubblewrap and waits until its launcher says that it is confined. */
  static async start(parts: Parts): Promise<BubblewrapCell> {
    const { child, ends } = spawnBubblewrap(parts);
    const cell = new BubblewrapCell(parts, child, ends);
    try {
      await cell.#ready();
      return cell;
    } catch (error) {
      cell.kill();
      await cell.exited;
      await cell.cleared();
      await cell.dispose();
      throw error;
    }
  }

  get profile(): Profile {
    return this.#parts.profile;
  }

  get group(): LimitGroup {
    return this.#parts.group;
  }

  /**
   * bubblewrap's init closes its descriptors, and bash puts its own back, a moment after the launcher has said that it
   * is ready: what is read is read again until they have, and the last reading is the one that counts.
   */
  async inspect(): Promise<Controls> {
    const begun = performance.now();
    for (;;) {
      const controls = this.#read();
      if (controls.descriptors.state === "enforced" || performance.now() - begun > SETTLE_MS_MAX)
        return controls;
      await nextTurn();
    }
  }

  get explanation(): Explanation | undefined {
    return this.#explanation;
  }

  attach(): Streams {
    this.#attached = true;
    const reading = (fd: number): Socket => new Socket({ fd, readable: true, writable: false });
    return {
      stdin: new Socket({ fd: this.#ends.stdin, readable: false, writable: true }),
      stdout: reading(this.#ends.stdout),
      stderr: reading(this.#ends.stderr),
    };
  }

  letGo(request: Uint8Array): void {
    writeWhole(this.#ends.request, request);
    this.#control.write("g");
  }

  startFailure(): StartFailure | undefined {
    return this.#dialogue.startFailure;
  }

  /** Kills the first process of the namespace, and with it every process there is inside, double forks included. */
  kill(): void {
    if (this.#initTicks !== undefined) {
      if (!hasEnded(this.#init, this.#initTicks)) process.kill(this.#init, "SIGKILL");
    } else if (this.#child.exitCode === null) this.#child.kill("SIGKILL");
  }

  /** Waits until the namespace's first process is gone: it goes last. */
  async cleared(): Promise<void> {
    const begun = performance.now();
    while (this.#initTicks !== undefined && !hasEnded(this.#init, this.#initTicks)) {
      const waited = performance.now() - begun;
      if (waited > CLEAR_MS_MAX) return;
      // It is a matter of microseconds, unless many processes or much memory have to go.
      await (waited < SPIN_MS_MAX ? nextTurn() : sleep(1));
    }
  }

  async dispose(): Promise<void> {
    this.#control.destroy();
    this.#explanation?.close();
    for (const fd of this.#attached ? [this.#ends.request] : Object.values(this.#ends)) closeSync(fd);
    for (const pipe of this.#parts.pipes) pipe.release();
    this.#parts.onClosed(this.#parts.group.remove());
  }

  #read(): Controls {
    const { user, plan, seccomp, group: limits } = this.#parts;
    return readEvidence(
      { init: this.#init, launcher: this.#launcher, dialogue: this.#dialogue },
      { user, plan, seccomp, limits },
    );
  }

  async #ready(): Promise<void> {
    const entered = this.#enter();
    const ready = Promise.all([readInfo(this.#child), this.#dialogue.ready]).then(([pid]) => pid);
    const broken = this.exited.then(() => undefined);
    const init = await within(BUILD_MS_MAX, Promise.race([ready, broken]));
    if (init === undefined) throw this.#startError();
    this.#init = init;
    this.#initTicks = readStartTicks(init);
    const [launcher] = readChildren(init);
    if (launcher === undefined) throw this.#startError();
    this.#launcher = launcher;
    this.#explanation = await this.#parts.explain?.(launcher);
    await entered;
    // What bubblewrap started before it was itself put in, is put in now.
    for (const pid of [init, launcher]) if (!this.#parts.group.holds(pid)) await this.#parts.group.enter(pid);
  }

  /** Off the path: the kernel moves bubblewrap into its group while it builds. One that is gone already says so itself. */
  async #enter(): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined) await this.#parts.group.enter(pid).catch(() => {});
  }

  #startError(): GateError {
    const broken = this.#dialogue.brokenSetUp;
    const text =
      broken === undefined ? drain(this.#ends.stderr) : `the launcher could not set up \`${broken}\``;
    return new GateError(
      "ERR_SANDBOX_START",
      `the sandbox could not be built: ${text || "bubblewrap gave no reason"}`,
      {
        remedy: "run `callgate doctor`",
      },
    );
  }
}

/** A request that is cut short would be another command. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(fd, bytes, written, bytes.length - written, written);
  }
}
