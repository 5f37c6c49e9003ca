import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../../../contract/errors.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import { CellSandbox, CLEAR_MS_MAX } from "../../cell.ts";
import { within } from "../../deadline.ts";
import {
  type Diagnosis,
  type Driver,
  type DriverSupport,
  type JoinedNetwork,
  joinedNetwork,
  type OpenOptions,
  type Sandbox,
  verifiedBut,
} from "../../driver.ts";
import { type HostLayout, readHostLayout } from "../../host.ts";
import { type LimitBackend, requireTreeLimits } from "../../limits/backend.ts";
import { detectLimits } from "../../limits/detect.ts";
import { authorityFiles, kindOfPath, networkFiles, plannedFiles } from "../../mounts.ts";
import { nativeProgram } from "../../native.ts";
import { Nursery } from "../../nursery.ts";
import { PipeStore } from "../../pipes.ts";
import { type DefaultSeccomp, defaultSeccomp, seccompArch } from "../../seccomp/default.ts";
import type { SeccompArch } from "../../seccomp/profile.ts";
import { Seed } from "../../seed.ts";
import { holdStandIns, sweepStandIns } from "../../stand-ins.ts";
import { createStarter, type Starter } from "../../starter.ts";
import type { HostUser } from "../../user.ts";
import { BubblewrapCell, type Parts } from "./cell.ts";
import { type PlannedNetwork, planBubblewrap } from "./plan.ts";
import { probeBubblewrap } from "./probe.ts";
import { stageGrants } from "./staging.ts";

export interface BubblewrapOptions {
  /** A folder of ours, outside every sandbox: pipes and the small files that are copied in. */
  readonly folder: string;
  readonly user: HostUser;
  readonly limits?: LimitBackend;
  /** Unset: the native launcher where it was built; null: bash, even there. */
  readonly launcher?: string | null;
  /** A gateway that makes one call and ends is small enough to fork by itself. */
  readonly oneShot?: boolean;
}

/** Where it is noted which stand-ins exist. */
const STAND_INS = "stand-ins";

/** Isolation class `process`: namespaces, seccomp, no capabilities, an unprivileged host user. */
export class BubblewrapDriver implements Driver {
  readonly name = "bubblewrap";
  readonly supports: DriverSupport = {
    isolation: ["process"],
    network: ["none", "names"],
    maskedPaths: true,
    airlock: true,
    stagedWrites: true,
    explainsSyscalls: true,
    observesFiles: true,
    evidence: verifiedBut({ lsm: "probed" }),
  };
  readonly #folder: string;
  readonly #user: HostUser;
  readonly #host: HostLayout;
  readonly #limits: LimitBackend;
  readonly #pipes: PipeStore;
  readonly #arch: SeccompArch;
  readonly #seccomp: DefaultSeccomp;
  readonly #starter: Starter;
  readonly #launcher: string | undefined;
  /** The seccomp program of every call but those that explain. */
  readonly #filterPath: string;
  readonly #files: readonly string[];
  readonly #nursery: Nursery<Seed>;
  readonly #kept = new Set<string>();
  readonly #removals = new Set<Promise<void>>();

  constructor(options: BubblewrapOptions) {
    if (options.user.uid === 0)
      throw new GateError("ERR_INTERNAL", "the host's uid 0 never enters a sandbox");
    this.#folder = options.folder;
    this.#user = options.user;
    this.#host = readHostLayout();
    this.#limits = options.limits ?? detectLimits();
    this.#pipes = new PipeStore(options.folder, options.user);
    const arch = seccompArch(process.arch);
    if (arch === undefined) {
      throw new GateError("ERR_CONTROL_UNAVAILABLE", `there is no seccomp program for \`${process.arch}\``, {
        remedy: "run it on x86-64 or arm64",
      });
    }
    this.#arch = arch;
    this.#seccomp = defaultSeccomp(arch);
    this.#launcher =
      (options.launcher === undefined ? nativeProgram("launch") : options.launcher) ?? undefined;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    sweepStandIns(join(options.folder, STAND_INS));
    this.#starter = createStarter(
      options.folder,
      options.launcher === null || options.oneShot === true ? null : undefined,
    );
    this.#filterPath = this.#keepProgram(this.#seccomp.digest, this.#seccomp.program);
    this.#files = plannedFiles(this.#host).map(({ path, content }, index) =>
      content === undefined ? path : this.#keep(`file-${index}`, Buffer.from(content)),
    );
    this.#nursery = new Nursery({
      make: () => this.#plant(this.#filterPath),
      discard: async (seed) => this.#uproot(seed),
    });
  }

  async probe(): Promise<Diagnosis> {
    return await probeBubblewrap(this.#user);
  }

  warm(ahead: number, keeping: boolean): void {
    this.#nursery.warm(ahead, keeping);
  }

  async open(profile: Profile, options: OpenOptions = {}): Promise<Sandbox> {
    const undo: (() => void)[] = [];
    const { copyOf } = options;
    try {
      const network = joinedNetwork(profile, options);
      const { filter, ...telling } = await this.#filter(profile);
      const seed = filter === this.#filterPath ? await this.#nursery.take() : await this.#plant(filter);
      undo.push(() => this.#uproot(seed));
      if (profile.treeLimits) requireTreeLimits(seed.group);
      seed.group.limit(profile.limits);
      const standIns = holdStandIns(
        copyOf === undefined ? profile.files.protect : [],
        join(this.#folder, STAND_INS),
      );
      undo.push(standIns.release);
      const staging = stageGrants(profile, this.#user, { copyOf, network });
      const sourceOf = staging === undefined ? {} : { sourceOf: staging.sourceOf };
      const plan = planBubblewrap(profile, {
        host: this.#host,
        kindOf: kindOfPath,
        standIns: standIns.folders,
        ...(copyOf === undefined ? {} : { copyOf }),
        enforced: seed.group.enforces,
        native: this.#launcher !== undefined,
        ...sourceOf,
        ...(network === undefined ? {} : { network: this.#plannedNetwork(network) }),
      });
      const cell = await BubblewrapCell.start(seed, {
        plan,
        staging: staging?.command ?? [],
        profile,
        user: this.#user,
        ...(network === undefined ? {} : { network }),
        ...telling,
        onClosed: () => {
          standIns.release();
          this.#track(seed.discard());
        },
      });
      return new CellSandbox(this.name, cell);
    } catch (error) {
      for (const step of undo.toReversed()) step();
      throw error instanceof GateError ? error : buildError(error);
    }
  }

  #plannedNetwork(network: JoinedNetwork): PlannedNetwork {
    const names = networkFiles(network).map(({ path: point, content = "" }, index) => ({
      path: this.#keep(`names-${index}`, Buffer.from(content)),
      point,
    }));
    return { names, authorities: authorityFiles(network, "/") };
  }

  async #plant(filter: string): Promise<Seed> {
    const pipes = await this.#pipes.claim(3);
    const group = this.#limits.create();
    try {
      return await Seed.plant({
        group,
        pipes,
        starter: this.#starter,
        seccomp: filter,
        files: this.#files,
        launcher: this.#launcher,
        requestPath: join(this.#folder, `request-${process.pid}-${process.hrtime.bigint()}`),
      });
    } catch (error) {
      for (const pipe of pipes) pipe.release();
      this.#track(group.remove());
      throw error;
    }
  }

  #uproot(seed: Seed): void {
    seed.kill();
    this.#track(within(CLEAR_MS_MAX, seed.exited).then(() => seed.discard()));
  }

  /** The filter that bubblewrap loads; a run that explains has another, and a supervisor. */
  async #filter({
    explainSyscalls,
    observeFiles,
  }: Profile): Promise<{ filter: string } & Pick<Parts, "seccomp" | "explain">> {
    const { digest, canaryErrno } = this.#seccomp;
    const usual = { filter: this.#filterPath, seccomp: { digest, canaryErrno } };
    if (observeFiles === true) {
      const { observeFiles: observe, requireObservable } = await import("../../seccomp/observe.ts");
      requireObservable(explainSyscalls === true);
      return { ...usual, explain: (launcher) => observe(launcher, this.#user, this.#arch) };
    }
    if (explainSyscalls !== true) return usual;
    const { explainSyscalls: explain, requireExplainable } = await import("../../seccomp/notify.ts");
    const { explainPrograms } = await import("../../seccomp/explain-program.ts");
    requireExplainable();
    const asking = explainPrograms(this.#arch);
    return {
      filter: this.#keepProgram(asking.digest, asking.outer),
      seccomp: { digest: asking.digest, canaryErrno },
      explain: (launcher) => explain(launcher, this.#user, this.#arch),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nursery[Symbol.asyncDispose]();
    while (this.#removals.size > 0) await Promise.all(this.#removals);
    await this.#starter[Symbol.asyncDispose]();
  }

  /** Groups are removed off the path of the call; closing the driver waits for the last. */
  #track(removal: Promise<void>): void {
    this.#removals.add(removal);
    void removal.finally(() => this.#removals.delete(removal));
  }

  #keepProgram(digest: Digest, program: Uint8Array): string {
    return this.#keep(`seccomp-${digest.slice(7, 23)}`, program);
  }

  /** Writes a small file of ours unless it is already there to the byte; looked at once in a driver's life. */
  #keep(name: string, content: Uint8Array): string {
    const path = join(this.#folder, name);
    if (this.#kept.has(path)) return path;
    this.#kept.add(path);
    try {
      if (readFileSync(path).equals(content)) return path;
    } catch {
      // not there yet
    }
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, content, { mode: 0o600 });
    chmodSync(draft, 0o600);
    renameSync(draft, path);
    return path;
  }
}

/** A granted path that vanished meanwhile, a full disk, too many open files: the kernel's own words. */
function buildError(cause: unknown): GateError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GateError("ERR_SANDBOX_START", `the sandbox could not be built: ${why}`, {
    cause,
    remedy: "run `callgate doctor`",
  });
}
