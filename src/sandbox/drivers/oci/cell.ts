import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import type { Profile } from "../../../contract/profile.ts";
import type { Cell, Streams } from "../../cell.ts";
import { within } from "../../deadline.ts";
import type { StartFailure } from "../../dialogue.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { killProcess, readChildren, readStartTicks } from "../../procfs.ts";
import type { Seed } from "../../seed.ts";
import { settledReading, untilEnded } from "../../settle.ts";
import type { Runtime } from "./runtimes.ts";

/** How long a sandbox may take to be built before it counts as broken. */
const BUILD_MS_MAX = 20_000;

/** What a sandbox is made of, beside the seed that becomes it. */
export interface Parts {
  readonly runtime: Runtime;
  readonly profile: Profile;
  /** Builder, runtime and launcher. */
  readonly command: readonly string[];
  /** Variables of the tool beside its profile's. */
  readonly variables: Readonly<Record<string, string>>;
  /** Reads what is true of the sandbox whose pid namespace begins with that process of the host. */
  readonly inspect: (runtimePid: number) => Controls;
  readonly onClosed: () => void;
}

/** A container of an OCI runtime that is itself the first process of a namespace: what ends it ends everything. */
/** How the launcher's child ends where it could not become the tool (`native/launch.c`). */
const EXIT_NOT_STARTED = 126;

export class OciCell implements Cell {
  readonly exited: Promise<number | null>;
  readonly #parts: Parts;
  readonly #seed: Seed;
  #runtime = 0;
  #runtimeTicks: string | undefined;
  #code: number | null = null;
  #killed = false;

  private constructor(seed: Seed, parts: Parts) {
    this.#seed = seed;
    this.#parts = parts;
    this.exited = this.#end();
  }

  /**
   * Makes a container of a seed, and waits until its launcher says that it is confined.
   * @throws GateError `ERR_SANDBOX_START` with the runtime's words; the seed is still the caller's to uproot.
   */
  static async start(seed: Seed, parts: Parts): Promise<OciCell> {
    const cell = new OciCell(seed, parts);
    seed.become(parts.command, {});
    await cell.#ready();
    return cell;
  }

  get profile(): Profile {
    return this.#parts.profile;
  }

  get group(): LimitGroup {
    return this.#seed.group;
  }

  get variables(): Readonly<Record<string, string>> {
    return this.#parts.variables;
  }

  async inspect(): Promise<Controls> {
    return await settledReading(() => this.#read());
  }

  attach(): Streams {
    return this.#seed.attach();
  }

  letGo(request: Uint8Array): void {
    if (this.#parts.runtime.ownKernel) this.#seed.rewind();
    this.#seed.send(request);
  }

  /** A runtime that ends before the tool did has lost it: nothing is known of the tool's end. */
  startFailure(): StartFailure | undefined {
    const { dialogue } = this.#seed;
    // Both come from the first process; one without the other is not believed.
    if (dialogue.startFailure !== undefined && dialogue.toolEnd === EXIT_NOT_STARTED)
      return dialogue.startFailure;
    if (dialogue.toolEnd !== undefined || this.#killed) return undefined;
    return {
      why: `was lost: ${this.#parts.runtime.name} ended before it did, with ${this.#code ?? "a signal"}`,
    };
  }

  /** Kills the first process of the outer namespace: runtime, sentry, gofer and tool, double forks included. */
  kill(): void {
    this.#killed ||= this.#seed.alive;
    if (this.#runtimeTicks !== undefined) {
      killProcess(this.#runtime, this.#runtimeTicks);
    } else if (this.#seed.alive) this.#seed.kill();
  }

  async cleared(): Promise<void> {
    await untilEnded(this.#runtime, this.#runtimeTicks);
  }

  async dispose(): Promise<void> {
    this.#parts.onClosed();
  }

  #read(): Controls {
    try {
      return this.#parts.inspect(this.#runtime);
    } catch (cause) {
      const { name } = this.#parts.runtime;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new GateError("ERR_SANDBOX_START", `${name}'s sandbox cannot be inspected: ${why}`, {
        cause,
        remedy: "call again; if it happens often, see what ends processes on this host",
      });
    }
  }

  /** The tool's own end, as the namespace's first process saw it; the runtime's exit code says less. */
  async #end(): Promise<number | null> {
    this.#code = await this.#seed.exited;
    await this.#seed.dialogue.lastWords();
    return this.#seed.dialogue.toolEnd ?? null;
  }

  async #ready(): Promise<void> {
    const { pid, dialogue } = this.#seed;
    const ready = dialogue.ready.then(() => true);
    const broken = this.exited.then(() => false);
    const isReady = await within(BUILD_MS_MAX, Promise.race([ready, broken]));
    if (isReady !== true) throw this.#startError();
    const [runtime] = readChildren(pid);
    if (runtime === undefined) throw this.#startError();
    this.#runtime = runtime;
    this.#runtimeTicks = readStartTicks(runtime);
    await this.#seed.entered();
    // What was started before the seed was itself put in, is put in now.
    await this.#enterAll(runtime);
  }

  async #enterAll(pid: number): Promise<void> {
    if (!this.group.holds(pid)) await this.group.enter(pid);
    for (const child of readChildren(pid)) await this.#enterAll(child);
  }

  #startError(): GateError {
    const { name } = this.#parts.runtime;
    const { brokenSetUp, startFailure } = this.#seed.dialogue;
    const text =
      brokenSetUp !== undefined
        ? `the launcher could not set up \`${brokenSetUp}\``
        : startFailure !== undefined
          ? `${name}'s builder ${startFailure.why}`
          : spoken(this.#seed.complaint());
    return new GateError(
      "ERR_SANDBOX_START",
      `${name} could not build the sandbox: ${text || "no reason given"}`,
      {
        remedy: "run `callgate doctor`",
      },
    );
  }
}

/** runc writes lines of `key="value"`: what it means is in `msg`. */
function spoken(text: string): string {
  const messages = [...text.matchAll(/level=(?:error|fatal) msg=("(?:[^"\\]|\\.)*")/g)];
  if (messages.length === 0) return text;
  return messages.map(([, quoted = '""']) => unquote(quoted)).join("; ");
}

function unquote(quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted;
  }
}
