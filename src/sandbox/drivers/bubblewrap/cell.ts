import { GateError } from "../../../contract/errors.ts";
import type { Controls } from "../../../contract/execution.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import type { Cell, Streams } from "../../cell.ts";
import { within } from "../../deadline.ts";
import type { StartFailure } from "../../dialogue.ts";
import type { JoinedNetwork } from "../../driver.ts";
import type { LimitGroup } from "../../limits/backend.ts";
import { killProcess, readChildren, readStartTicks } from "../../procfs.ts";
import type { Explanation } from "../../seccomp/notify.ts";
import type { Seed } from "../../seed.ts";
import { settledReading, untilEnded } from "../../settle.ts";
import type { HostUser } from "../../user.ts";
import { readEvidence } from "./evidence.ts";
import type { Plan } from "./plan.ts";

const BWRAP = "/usr/bin/bwrap";
/** How long a sandbox may take to be built before it counts as broken. */
const BUILD_MS_MAX = 10_000;

/** What a sandbox is made of, beside the seed that becomes it. */
export interface Parts {
  readonly plan: Plan;
  /** Runs in front of bubblewrap as root, where its user could not open a grant; else empty. */
  readonly staging: readonly string[];
  readonly profile: Profile;
  readonly user: HostUser;
  /** Where the profile names hosts. */
  readonly network?: JoinedNetwork;
  readonly seccomp: { readonly digest: Digest; readonly canaryErrno: number };
  /** Starts the supervisor that answers for the filter; unset: the filter answers by itself. */
  readonly explain?: (launcher: number) => Promise<Explanation>;
  readonly onClosed: () => void;
}

export class BubblewrapCell implements Cell {
  readonly exited: Promise<number | null>;
  readonly #parts: Parts;
  readonly #seed: Seed;
  #init = 0;
  #initTicks: string | undefined;
  #launcher = 0;
  #explanation: Explanation | undefined;

  private constructor(seed: Seed, parts: Parts) {
    this.#seed = seed;
    this.#parts = parts;
    // The first process tells of the tool's end before bubblewrap has noticed; one that was killed tells nothing.
    const { dialogue } = seed;
    const ended = seed.exited.then(async (code) => {
      await dialogue.lastWords();
      return code;
    });
    this.exited = Promise.race([dialogue.ended, ended]);
  }

  /**
   * Makes bubblewrap of a seed, and waits until its launcher says that it is confined.
   * @throws GateError `ERR_SANDBOX_START`; the seed is still the caller's to uproot.
   */
  static async start(seed: Seed, parts: Parts): Promise<BubblewrapCell> {
    const cell = new BubblewrapCell(seed, parts);
    // Staging needs root, and steps back itself.
    const stepsBack = process.geteuid?.() === 0 && parts.staging.length === 0;
    const { user, network, staging, plan } = parts;
    seed.become([...staging, BWRAP, ...plan.args], {
      ...(stepsBack ? { user } : {}),
      // Behind a staging the network is joined last, by that.
      ...(network === undefined || staging.length > 0 ? {} : { network }),
      files: plan.late,
    });
    await cell.#ready();
    return cell;
  }

  get profile(): Profile {
    return this.#parts.profile;
  }

  get group(): LimitGroup {
    return this.#seed.group;
  }

  async inspect(): Promise<Controls> {
    return await settledReading(() => this.#read());
  }

  get explanation(): Explanation | undefined {
    return this.#explanation;
  }

  get variables(): Readonly<Record<string, string>> {
    return this.#parts.network?.environment ?? {};
  }

  attach(): Streams {
    return this.#seed.attach();
  }

  letGo(request: Uint8Array): void {
    this.#seed.send(request);
  }

  startFailure(): StartFailure | undefined {
    return this.#seed.dialogue.startFailure;
  }

  /** Kills the first process of the namespace, and with it every process there is inside, double forks included. */
  kill(): void {
    if (this.#initTicks !== undefined) {
      killProcess(this.#init, this.#initTicks);
    } else if (this.#seed.alive) this.#seed.kill();
  }

  /** Waits until the namespace's first process is gone: it goes last. */
  async cleared(): Promise<void> {
    await untilEnded(this.#init, this.#initTicks);
  }

  async dispose(): Promise<void> {
    this.#explanation?.close();
    this.#parts.onClosed();
  }

  #read(): Controls {
    const { user, plan, seccomp, network } = this.#parts;
    const limits = this.#seed.group;
    return readEvidence(
      { init: this.#init, launcher: this.#launcher, dialogue: this.#seed.dialogue },
      { user, plan, seccomp, limits, network },
    );
  }

  async #ready(): Promise<void> {
    const { dialogue, group } = this.#seed;
    let how = `it was not ready after ${BUILD_MS_MAX} ms`;
    const broken = this.exited.then((code) => {
      how = `it ended with ${code}`;
      return undefined;
    });
    const init = await within(BUILD_MS_MAX, Promise.race([dialogue.readyAs, broken]));
    if (init === undefined) throw this.#startError(how);
    this.#init = init;
    this.#initTicks = readStartTicks(init);
    const launcher = this.#parts.plan.launcherIsFirst ? init : readChildren(init)[0];
    if (launcher === undefined) throw this.#startError("without a launcher");
    this.#launcher = launcher;
    this.#explanation = await this.#parts.explain?.(launcher);
    await this.#seed.entered();
    // What was started before the seed was itself put in, is put in now.
    for (const pid of [init, launcher]) if (!group.holds(pid)) await group.enter(pid);
  }

  #startError(how: string): GateError {
    const { brokenSetUp, startFailure } = this.#seed.dialogue;
    const text =
      brokenSetUp !== undefined
        ? `the launcher could not set up \`${brokenSetUp}\``
        : startFailure !== undefined
          ? `${BWRAP} ${startFailure.why}`
          : this.#seed.complaint();
    return new GateError(
      "ERR_SANDBOX_START",
      `the sandbox could not be built: ${text || `bubblewrap gave no reason (${how})`}`,
      {
        remedy: "run `callgate doctor`",
      },
    );
  }
}
