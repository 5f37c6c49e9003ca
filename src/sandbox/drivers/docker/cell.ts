import { writeSync } from "node:fs";
import { Socket } from "node:net";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import { type Cell, CLEAR_MS_MAX, type Streams } from "../../cell.ts";
import { within } from "../../deadline.ts";
import { Dialogue, type StartFailure } from "../../dialogue.ts";
import type { Pipe } from "../../pipes.ts";
import { hasEnded, readChildren, readStartTicks } from "../../procfs.ts";
import type { StandIns } from "../../stand-ins.ts";
import type { HostUser } from "../../user.ts";
import type { Channels } from "./channels.ts";
import { type Engine, messageOf } from "./engine.ts";
import { readEvidence } from "./evidence.ts";
import { ContainerLimits } from "./limits.ts";
import type { Plan } from "./plan.ts";

/** How long a started container may take until its launcher is ready. */
const READY_MS_MAX = 5_000;
/** How long the daemon may take to learn that a container has ended. */
const LEARN_MS_MAX = 1_000;
/** How long a launcher that says it is ready may hold descriptors that it is about to close. */
const SETTLE_MS_MAX = 1_000;
/** How long the end of a namespace is looked for without pause. */
const SPIN_MS_MAX = 3;
/** An exit status and its newline; what a tool may write into the pipe besides is of no interest. */
const STATUS_BYTES_MAX = 16;

/** What one sandbox is made of. */
export interface Parts {
  readonly engine: Engine;
  readonly plan: Plan;
  readonly profile: Profile;
  /** As the host counts: another than inside where the daemon remaps users. */
  readonly user: HostUser;
  readonly inside: HostUser;
  readonly seccomp: { readonly digest: Digest; readonly canaryErrno: number };
  readonly pipes: readonly Pipe[];
  readonly channels: Channels;
  readonly standIns: StandIns;
  /** Removes the container, processes and all. Never throws. */
  readonly remove: (container: string) => Promise<void>;
}

export class ContainerCell implements Cell {
  readonly exited: Promise<number | null>;
  readonly #parts: Parts;
  readonly #container: string;
  readonly #up: Socket;
  readonly #dialogue: Dialogue;
  readonly #end: Socket;
  #attached = false;
  #init = 0;
  #initTicks: string | undefined;
  #launcher = 0;
  #limits: ContainerLimits | undefined;

  private constructor(parts: Parts, container: string) {
    this.#parts = parts;
    this.#container = container;
    const { up, end } = parts.channels.ends;
    this.#up = reading(up);
    this.#dialogue = new Dialogue(this.#up);
    this.#end = reading(end);
    const said = new Promise<void>((done) => this.#up.on("close", () => done()));
    const ended = readStatus(this.#end).finally(() => this.#limits?.settle());
    // What the launcher said last must have arrived too: it and the status come by two pipes.
    this.exited = Promise.all([ended, said]).then(([status]) => status);
  }

  /** Makes the container. @returns its id. */
  static async make(engine: Engine, plan: Plan): Promise<string> {
    const made = await engine.call("POST", "/containers/create", plan.body);
    const id = (made.body as { Id?: unknown } | undefined)?.Id;
    if (made.status !== 201 || typeof id !== "string") throw startError(messageOf(made));
    return id;
  }

  /** Starts the container, and waits until its launcher says that it is confined. It owns the parts from here on. */
  static async start(container: string, parts: Parts): Promise<ContainerCell> {
    const cell = new ContainerCell(parts, container);
    try {
      await cell.#ready();
      return cell;
    } catch (error) {
      cell.kill();
      await cell.cleared();
      await cell.dispose();
      throw error;
    }
  }

  get profile(): Profile {
    return this.#parts.profile;
  }

  get group(): ContainerLimits {
    if (this.#limits === undefined) throw new GateError("ERR_INTERNAL", "a container without its limits");
    return this.#limits;
  }

  /** The launcher puts its descriptors back a moment after it has said that it is ready: what counts is read last. */
  async inspect(): Promise<Controls> {
    const begun = performance.now();
    for (;;) {
      const controls = this.#read();
      if (controls.descriptors.state === "enforced" || performance.now() - begun > SETTLE_MS_MAX)
        return controls;
      await nextTurn();
    }
  }

  attach(): Streams {
    this.#attached = true;
    const { in: stdin, out, err } = this.#parts.channels.ends;
    return {
      stdin: new Socket({ fd: stdin, readable: false, writable: true }),
      stdout: reading(out),
      stderr: reading(err),
    };
  }

  letGo(request: Uint8Array): void {
    const { channels } = this.#parts;
    writeWhole(channels.request, request);
    try {
      writeSync(channels.ends.go, "g");
    } catch {
      // a launcher that was killed meanwhile reads nothing any more; its end says so
    }
  }

  startFailure(): StartFailure | undefined {
    return this.#dialogue.startFailure;
  }

  /** Kills the container's first process, and with it all there is inside; the daemon is asked only where we may not. */
  kill(): void {
    this.#limits?.settle();
    if (this.#initTicks === undefined || hasEnded(this.#init, this.#initTicks)) return;
    try {
      process.kill(this.#init, "SIGKILL");
    } catch {
      void this.#parts.engine.call("POST", `/containers/${this.#container}/kill`).catch(() => {});
    }
  }

  async cleared(): Promise<void> {
    const begun = performance.now();
    while (this.#initTicks !== undefined && !hasEnded(this.#init, this.#initTicks)) {
      const waited = performance.now() - begun;
      if (waited > CLEAR_MS_MAX) return;
      await (waited < SPIN_MS_MAX ? nextTurn() : sleep(1));
    }
  }

  async dispose(): Promise<void> {
    const { channels, pipes, standIns, remove } = this.#parts;
    const removal = remove(this.#container);
    // Of a container that never became ours to kill, the daemon's word is the only one that it is gone.
    if (this.#initTicks === undefined) await removal;
    this.#up.destroy();
    this.#end.destroy();
    channels.close(this.#attached ? ["up", "end", "in", "out", "err"] : ["up", "end"]);
    for (const pipe of pipes) pipe.release();
    standIns.release();
  }

  #read(): Controls {
    const { user, inside, plan, seccomp } = this.#parts;
    return readEvidence(
      { init: this.#init, launcher: this.#launcher, dialogue: this.#dialogue },
      { user, inside, plan, seccomp, limits: this.group },
    );
  }

  async #ready(): Promise<void> {
    const { engine, channels, profile } = this.#parts;
    const started = await engine.call("POST", `/containers/${this.#container}/start`);
    if (started.status !== 204) throw startError(messageOf(started));
    const { body } = await engine.call("GET", `/containers/${this.#container}/json`);
    const pid = (body as { State?: { Pid?: unknown } } | undefined)?.State?.Pid;
    const ticks = typeof pid === "number" && pid > 0 ? readStartTicks(pid) : undefined;
    if (typeof pid !== "number" || ticks === undefined) throw await this.#startError();
    this.#init = pid;
    let isReady = false;
    void this.#dialogue.ready.then(() => (isReady = true));
    const deadline = performance.now() + READY_MS_MAX;
    while (!isReady && !hasEnded(pid, ticks) && performance.now() < deadline) await sleep(1);
    if (!isReady) throw await this.#startError();
    if (!channels.isHeldBy(pid)) throw invisible(engine.socket);
    // INVARIANT: nothing is killed by its number before it is known to be ours.
    this.#initTicks = ticks;
    const [launcher] = readChildren(pid);
    if (launcher === undefined) throw await this.#startError();
    this.#launcher = launcher;
    this.#limits = new ContainerLimits(pid, profile.limits, () => hasEnded(pid, ticks));
    if (profile.treeLimits) requireTreeLimits(this.#limits, launcher);
    channels.seal();
  }

  async #startError(): Promise<GateError> {
    const broken = this.#dialogue.brokenSetUp;
    if (broken !== undefined) return startError(`the launcher could not set up \`${broken}\``);
    const { engine } = this.#parts;
    // The daemon learns of an end a moment after it.
    const waiting = engine.call("POST", `/containers/${this.#container}/wait`).catch(() => undefined);
    await within(LEARN_MS_MAX, waiting);
    const { body } = await engine.call("GET", `/containers/${this.#container}/json`);
    const state = (body as { State?: StateAnswer } | undefined)?.State;
    if (state?.Running === true) return invisible(engine.socket);
    const why = state?.OOMKilled === true ? "it ran out of memory" : state?.Error;
    return startError(why || `its first process ended with ${state?.ExitCode ?? "no status"}`);
  }
}

interface StateAnswer {
  readonly Running?: boolean;
  readonly ExitCode?: number;
  readonly Error?: string;
  readonly OOMKilled?: boolean;
}

/** The status that the first process told, or null where it was itself killed or somebody else wrote in its place. */
async function readStatus(end: Socket): Promise<number | null> {
  return await new Promise((done) => {
    let text = "";
    end.on("data", (chunk: Buffer) => {
      if (text.length < STATUS_BYTES_MAX) text += chunk.toString("latin1", 0, STATUS_BYTES_MAX);
      const [, status] = /^(\d{1,3})\n/.exec(text) ?? [];
      if (status !== undefined) done(Number(status));
      else if (text.includes("\n") || text.length >= STATUS_BYTES_MAX) done(null);
    });
    end.on("error", () => done(null));
    end.on("close", () => done(null));
  });
}

function reading(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

/** The daemon was asked for them; the kernel says whether they are there. */
function requireTreeLimits(limits: ContainerLimits, pid: number): void {
  const lacking = Object.entries(limits.evidence(pid)).filter(([, { state }]) => state !== "enforced");
  if (lacking.length === 0) return;
  const why = lacking.map(([name, { evidence }]) => `${name} (${evidence})`).join(", ");
  throw new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `docker does not bound ${why} here, and this tier needs it`,
    {
      remedy: "run the daemon where it has the memory, pids and cpu cgroup controllers (`docker info`)",
    },
  );
}

/** A request that is cut short would be another command. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(fd, bytes, written, bytes.length - written, written);
  }
}

function startError(why: string): GateError {
  return new GateError("ERR_SANDBOX_START", `docker could not start the container: ${why}`, {
    remedy: "run `callgate doctor`",
  });
}

function invisible(socket: string): GateError {
  return new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `the processes of the daemon at \`${socket}\` cannot be looked at from here, so nothing of a container can be verified`,
    { remedy: "use a daemon on this host, not one in a virtual machine or behind a network" },
  );
}
