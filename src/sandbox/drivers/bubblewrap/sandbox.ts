import type { ChildProcess } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { constants as os } from "node:os";
import type { Duplex } from "node:stream";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Capability } from "../../../contract/capability.ts";
import { GateError } from "../../../contract/errors.ts";
import type { Controls, Denial, Execution, KilledBy, Unstarted } from "../../../contract/execution.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import type { Command, ReleaseOptions, Sandbox } from "../../driver.ts";
import { feed } from "../../feed.ts";
import { encodeRequest, FD } from "../../launcher.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { OutputCollector } from "../../output.ts";
import type { Pipe } from "../../pipes.ts";
import { hasEnded, readChildren, readStartTicks } from "../../procfs.ts";
import type { HostUser } from "../../user.ts";
import { Watch } from "../../watch.ts";
import { readEvidence } from "./evidence.ts";
import type { Plan } from "./plan.ts";
import { drain, type Ends, readInfo, spawnBubblewrap } from "./spawn.ts";

/** How long a sandbox may take to be built before it counts as broken. */
const BUILD_MS_MAX = 10_000;
/** How long a sandbox that says it is ready may hold descriptors that it is about to close. */
const SETTLE_MS_MAX = 1_000;
/** How long the end of a namespace is looked for without pause. */
const SPIN_MS_MAX = 3;
/** How long the kernel may take to clear a killed process namespace. */
const CLEAR_MS_MAX = 5_000;

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
  readonly files: readonly string[];
  readonly requestPath: string;
  readonly onClosed: (removal: Promise<void>) => void;
}

export class BubblewrapSandbox implements Sandbox {
  readonly driver = "bubblewrap";
  readonly #parts: Parts;
  readonly #child: ChildProcess;
  readonly #control: Duplex;
  readonly #ends: Ends;
  readonly #exited: Promise<number | null>;
  #said = "";
  #init = 0;
  #initTicks: string | undefined;
  #launcher = 0;
  #used = false;
  #closed = false;

  private constructor(parts: Parts, child: ChildProcess, ends: Ends) {
    this.#parts = parts;
    this.#child = child;
    this.#ends = ends;
    this.#control = child.stdio[FD.control] as Duplex;
    this.#control.on("data", (chunk: Buffer) => (this.#said += chunk));
    this.#control.on("error", () => {}); // the launcher died; its exit says so
    this.#exited = new Promise((done) => {
      child.on("error", () => done(null));
      child.on("exit", (code) => done(code));
    });
  }

  /** Spawns bubblewrap and waits until its launcher says that it is confined. */
  static async start(parts: Parts): Promise<BubblewrapSandbox> {
    const { child, ends } = spawnBubblewrap(parts);
    const sandbox = new BubblewrapSandbox(parts, child, ends);
    try {
      await sandbox.#ready();
      return sandbox;
    } catch (error) {
      await sandbox[Symbol.asyncDispose]();
      throw error;
    }
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

  async release(_capability: Capability, command: Command, options: ReleaseOptions = {}): Promise<Execution> {
    if (this.#used) throw new GateError("ERR_INTERNAL", "a sandbox is used once");
    this.#used = true;
    const { limits, environment } = this.#parts.profile;
    const request = encodeRequest(environment, command.argv);
    writeWhole(this.#ends.request, request);
    const started = performance.now();
    using watch = new Watch(limits, this.#parts.group, () => this.#killTree(), options.signal);
    const output = new OutputCollector(limits.outputBytes, () => watch.end("output"), options.onOutput);
    const streams = [output.follow("stdout", this.#ends.stdout), output.follow("stderr", this.#ends.stderr)];
    const input = feed(this.#ends.stdin, command.stdin, limits.inputBytes, () => watch.end("input"));
    this.#control.write("g");
    const code = await this.#exited;
    const wallMs = performance.now() - started;
    this.#killTree();
    await this.#cleared();
    await within(CLEAR_MS_MAX, Promise.all(streams.map((stream) => stream.ended)));
    // The pipes go to other calls after this one: nothing may be left that still writes to them or reads from them.
    await Promise.all([input.close(), ...streams.map((stream) => stream.stop())]);
    const ran = { ...output.result(), usage: { wallMs, ...this.#parts.group.usage() } };
    const reason = watch.reason() ?? (this.#metCpuRlimit(code) ? "cpu" : null);
    if (reason !== null) {
      const denials: Denial[] =
        reason === "abort"
          ? []
          : [{ kind: "limit", what: reason, why: limitText(reason, this.#parts.profile) }];
      return { outcome: "killed", killedBy: reason, ...ran, denials };
    }
    return this.#failedStart(command) ?? { outcome: "exited", ...exitOf(code), ...ran, denials: [] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#killTree();
    this.#control.destroy();
    await this.#exited;
    await this.#cleared();
    for (const fd of this.#used ? [this.#ends.request] : Object.values(this.#ends)) closeSync(fd);
    for (const pipe of this.#parts.pipes) pipe.release();
    this.#parts.onClosed(this.#parts.group.remove());
  }

  /** Without a cgroup the rlimit's signal is all there is to go by; a tool that exits 152 by itself reads the same. */
  #metCpuRlimit(code: number | null): boolean {
    return !this.#parts.group.enforces.has("cpu") && code === 128 + os.signals.SIGXCPU;
  }

  #read(): Controls {
    const { user, plan, seccomp, group: limits } = this.#parts;
    return readEvidence(
      { init: this.#init, launcher: this.#launcher, canary: this.#said },
      { user, plan, seccomp, limits },
    );
  }

  async #ready(): Promise<void> {
    const entered = this.#enter();
    const info = readInfo(this.#child);
    const said = new Promise<void>((done) =>
      this.#control.on("data", () => this.#said.includes("R\n") && done()),
    );
    const ready = Promise.all([info, said]).then(([pid]) => pid);
    const broken = this.#exited.then(() => undefined);
    const init = await within(BUILD_MS_MAX, Promise.race([ready, broken]));
    if (init === undefined) throw this.#startError();
    this.#init = init;
    this.#initTicks = readStartTicks(init);
    const [launcher] = readChildren(init);
    if (launcher === undefined) throw this.#startError();
    this.#launcher = launcher;
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
    const limit = /L(-\w+)/.exec(this.#said)?.[1];
    const text =
      limit === undefined ? drain(this.#ends.stderr) : `the launcher could not set \`ulimit ${limit}\``;
    return new GateError(
      "ERR_SANDBOX_START",
      `the sandbox could not be built: ${text || "bubblewrap gave no reason"}`,
      {
        remedy: "run `callgate doctor`",
      },
    );
  }

  #failedStart(command: Command): Unstarted | undefined {
    const status = /E(\d+)\n$/.exec(this.#said)?.[1];
    if (status === undefined) return undefined;
    const why = status === "127" ? "was not found" : "cannot be executed";
    return {
      outcome: "unstarted",
      code: "ERR_COMMAND_START",
      message: `\`${command.argv[0]}\` ${why} inside the sandbox`,
      remedy: "install it under /usr, or grant the folder that holds it with `read`",
    };
  }

  /** Kills the first process of the namespace, and with it every process there is inside, double forks included. */
  #killTree(): void {
    if (this.#initTicks !== undefined) {
      if (!hasEnded(this.#init, this.#initTicks)) process.kill(this.#init, "SIGKILL");
    } else if (this.#child.exitCode === null) this.#child.kill("SIGKILL");
  }

  /** Waits until the namespace's first process is gone: it goes last. */
  async #cleared(): Promise<void> {
    const begun = performance.now();
    while (this.#initTicks !== undefined && !hasEnded(this.#init, this.#initTicks)) {
      const waited = performance.now() - begun;
      if (waited > CLEAR_MS_MAX) return;
      // It is a matter of microseconds, unless many processes or much memory have to go.
      await (waited < SPIN_MS_MAX ? nextTurn() : sleep(1));
    }
  }
}

/** A request that is cut short would be another command. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(fd, bytes, written, bytes.length - written, written);
  }
}

/** What `promise` gives, or undefined when it takes longer than `ms`. Leaves no timer behind. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const late = new AbortController();
  const timer = sleep(ms, undefined, { signal: late.signal }).catch(() => undefined);
  try {
    return await Promise.race([promise, timer]);
  } finally {
    late.abort();
  }
}

/** bubblewrap's init reports a signal as 128 and its number, so a tool that exits so itself reads the same. */
function exitOf(code: number | null): { readonly exitCode: number; readonly signal: NodeJS.Signals | null } {
  const exitCode = code ?? 128 + os.signals.SIGKILL;
  const signal = Object.entries(os.signals).find(([, number]) => 128 + number === exitCode)?.[0];
  return { exitCode, signal: (signal ?? null) as NodeJS.Signals | null };
}

function limitText(reason: Exclude<KilledBy, "abort">, { limits }: Profile): string {
  switch (reason) {
    case "wall":
      return `ran longer than ${limits.wallMs} ms`;
    case "cpu":
      return `used more than ${limits.cpuMs} ms of processor time`;
    case "memory":
      return `used more than ${limits.memoryBytes} bytes of memory`;
    case "processes":
      return `had more than ${limits.processes} processes`;
    case "output":
      return `wrote more than ${limits.outputBytes} bytes`;
    case "input":
      return `was given more than ${limits.inputBytes} bytes of input`;
    default:
      return reason satisfies never;
  }
}
