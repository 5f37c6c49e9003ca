import { constants as os } from "node:os";
import type { Readable, Writable } from "node:stream";
import type { Capability } from "../contract/capability.ts";
import { GateError } from "../contract/errors.ts";
import type { Controls, Denial, Execution, KilledBy, Unstarted } from "../contract/execution.ts";
import type { Limits, Profile } from "../contract/profile.ts";
import { within } from "./deadline.ts";
import type { StartFailure } from "./dialogue.ts";
import type { Command, ReleaseOptions, Sandbox } from "./driver.ts";
import { feed } from "./feed.ts";
import { exposedSockets } from "./grants.ts";
import { encodeRequest } from "./launcher.ts";
import type { LimitGroup } from "./limits/backend.ts";
import { OutputCollector } from "./output.ts";
import type { Explanation } from "./seccomp/notify.ts";
import { Watch } from "./watch.ts";

/** How long the kernel, or a runtime, may take to clear a killed sandbox. */
export const CLEAR_MS_MAX = 5_000;

/** The gateway's ends of a tool's standard three. Taken once, when the tool is let in. */
export interface Streams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/** What a driver has built: a launcher that waits, fully confined, and the means to watch it and to end it. */
export interface Cell {
  readonly profile: Profile;
  readonly group: LimitGroup;
  /** Variables of the tool beside its profile's, from its network. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Reads, now, what is true of the waiting sandbox. */
  inspect(): Promise<Controls>;
  attach(): Streams;
  /** Hands the launcher its request, whole, and lets it go. @see encodeRequest */
  letGo(request: Uint8Array): void;
  /** The tool's exit code, or 128 and a signal's number; null where the runtime itself was killed. */
  readonly exited: Promise<number | null>;
  /** Asked after `exited`: what the launcher said if it could not start the tool. */
  startFailure(): StartFailure | undefined;
  /** Where the profile asks for it: who tells of refused system calls. */
  readonly explanation?: Explanation | undefined;
  /** Kills whatever is inside, double forks included. Never throws; may be called often, and after the end. */
  kill(): void;
  /** Resolves when nothing of it lives any more, or after `CLEAR_MS_MAX`. */
  cleared(): Promise<void>;
  /** Gives back what the driver holds: pipes, groups, folders. Called once, after `cleared`. */
  dispose(): Promise<void>;
}

/** The life of every sandbox, whoever built it: inspected, let go once, watched, cleared, thrown away. */
export class CellSandbox implements Sandbox {
  readonly driver: string;
  readonly #cell: Cell;
  #used = false;
  #closed = false;
  #ended = false;

  constructor(driver: string, cell: Cell) {
    this.driver = driver;
    this.#cell = cell;
    void cell.exited.then(() => {
      this.#ended = true;
    });
  }

  get alive(): boolean {
    return !this.#ended && !this.#closed;
  }

  memoryBytes(): number | null {
    return this.#cell.group.usage().memoryBytesMax;
  }

  async inspect(): Promise<Controls> {
    const controls = await this.#cell.inspect();
    // A mount covers a socket that was there; only looking again finds one that was not.
    const [late] = exposedSockets(this.#cell.profile);
    if (late === undefined) return controls;
    const evidence = `${late} is a socket of the host that has appeared and is not hidden`;
    return { ...controls, mounts: { state: "unavailable", basis: "verified", evidence } };
  }

  async release(_capability: Capability, command: Command, options: ReleaseOptions = {}): Promise<Execution> {
    if (this.#used) throw new GateError("ERR_INTERNAL", "a sandbox is used once");
    this.#used = true;
    const cell = this.#cell;
    const { limits, environment } = cell.profile;
    const variables = { ...cell.variables, ...environment };
    const request = (cell.explanation?.request ?? encodeRequest)(variables, command.argv);
    cell.group.begin();
    const started = performance.now();
    using watch = new Watch(limits, cell.group, () => cell.kill(), options.signal);
    const output = new OutputCollector(limits.outputBytes, () => watch.end("output"), options.onOutput);
    const { stdin, stdout, stderr } = cell.attach();
    const streams = [output.follow("stdout", stdout), output.follow("stderr", stderr)];
    const input = feed(stdin, command.stdin, limits.inputBytes, () => watch.end("input"));
    let code: number | null = null;
    let wallMs = 0;
    let isOver = false;
    try {
      cell.letGo(request);
      code = await endOf(cell, watch);
      wallMs = performance.now() - started;
    } finally {
      watch.settle();
      cell.kill();
      await cell.cleared();
      const ended = Promise.all(streams.map((stream) => stream.ended)).then(() => true);
      isOver = (await within(CLEAR_MS_MAX, ended)) === true;
      // Pipes go to other calls after this one: nothing may be left that still writes to them or reads from them.
      await Promise.all([input.close(), ...streams.map((stream) => stream.stop())]);
    }
    const observed = await cell.explanation?.observed?.();
    const ran = {
      ...output.result(),
      usage: { wallMs, ...cell.group.usage() },
      ...(observed === undefined ? {} : { observed }),
    };
    const refused = cell.explanation?.denials(code) ?? [];
    const reason = watch.reason() ?? (this.#metCpuRlimit(code) ? "cpu" : null);
    if (reason !== null) {
      const denials = [...limitDenials(reason, cell.profile), ...refused];
      return { outcome: "killed", killedBy: reason, ...ran, denials };
    }
    const failure = cell.startFailure() ?? cell.explanation?.startFailure(code);
    if (failure !== undefined) return unstarted(command, failure);
    // Nobody saw its end, or something of it is left: what it did is unknown, and is not called its own doing.
    if (code === null || !isOver)
      throw new GateError("ERR_INTERNAL", "the sandbox was lost before the tool's end was seen");
    const ended = exitOf(code);
    return {
      outcome: "exited",
      ...ended,
      ...ran,
      denials: [...signalDenials(ended.signal, limits), ...refused],
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cell.kill();
    // Within a bound, whose timer also keeps this process from ending while it waits: nothing else of a cell may.
    await within(CLEAR_MS_MAX, this.#cell.exited);
    await this.#cell.cleared();
    await this.#cell.dispose();
  }

  /** Without a cgroup the rlimit's signal is all there is to go by; a tool that exits 152 by itself reads the same. */
  #metCpuRlimit(code: number | null): boolean {
    return !this.#cell.group.enforces.has("cpu") && code === 128 + os.signals.SIGXCPU;
  }
}

/** The tool's end; or, where it was killed and does not go, null in the time that a kill may take. */
async function endOf(cell: Cell, watch: Watch): Promise<number | null> {
  const first = await Promise.race([cell.exited, watch.ended.then(() => undefined)]);
  return first === undefined ? ((await within(CLEAR_MS_MAX, cell.exited)) ?? null) : first;
}

/** A sandbox's init reports a signal as 128 and its number, so a tool that exits so itself reads the same. */
function exitOf(exitCode: number): { readonly exitCode: number; readonly signal: NodeJS.Signals | null } {
  const signal = Object.entries(os.signals).find(([, number]) => 128 + number === exitCode)?.[0];
  return { exitCode, signal: (signal ?? null) as NodeJS.Signals | null };
}

function unstarted({ argv }: Command, { why, errno }: StartFailure): Unstarted {
  return {
    outcome: "unstarted",
    code: "ERR_COMMAND_START",
    message: `\`${argv[0]}\` ${why} inside the sandbox${errno === undefined ? "" : ` (${errno})`}`,
    remedy: "install it under /usr, or grant the folder that holds it with `read`",
  };
}

function limitDenials(reason: KilledBy, profile: Profile): readonly Denial[] {
  return reason === "abort" ? [] : [{ kind: "limit", what: reason, why: limitText(reason, profile) }];
}

/** A limit whose signal a tool may catch: the tool ends, or not, as it likes (setrlimit(2), RLIMIT_FSIZE). */
function signalDenials(signal: NodeJS.Signals | null, { fileSizeBytes }: Limits): readonly Denial[] {
  if (signal !== "SIGXFSZ") return [];
  return [{ kind: "limit", what: "fileSize", why: `wrote a file of more than ${fileSizeBytes} bytes` }];
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
