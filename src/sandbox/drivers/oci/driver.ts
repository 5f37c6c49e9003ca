import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../../../contract/errors.ts";
import { type Digest, digestOf } from "../../../contract/ids.ts";
import { DEFAULT_LIMITS, type Limits, type Profile } from "../../../contract/profile.ts";
import type { IsolationClass } from "../../../contract/tier.ts";
import { CellSandbox } from "../../cell.ts";
import {
  type Diagnosis,
  type Driver,
  type DriverSupport,
  type JoinedNetwork,
  joinedNetwork,
  type OpenOptions,
  type Sandbox,
} from "../../driver.ts";
import { type HostLayout, readHostLayout } from "../../host.ts";
import { readImage } from "../../image/layout.ts";
import { unpackedImage } from "../../image/unpack.ts";
import { type LimitBackend, requireTreeLimits } from "../../limits/backend.ts";
import { detectLimits } from "../../limits/detect.ts";
import {
  authorityFiles,
  hostRoot,
  kindOfPath,
  networkFiles,
  type PlannedFile,
  plannedFiles,
} from "../../mounts.ts";
import { PipeStore } from "../../pipes.ts";
import { defaultSeccomp, seccompArch } from "../../seccomp/default.ts";
import type { SeccompProfile } from "../../seccomp/profile.ts";
import { Seed } from "../../seed.ts";
import { holdStandIns, sweepStandIns } from "../../stand-ins.ts";
import { createStarter, type Starter } from "../../starter.ts";
import type { HostUser } from "../../user.ts";
import { type BuildIdentity, builderCommand } from "./builder.ts";
import { OciCell, type Parts } from "./cell.ts";
import { type Expected, readEvidence } from "./evidence.ts";
import { readGuestEvidence } from "./guest-evidence.ts";
import { GUEST_CANARY_ERRNO, guestProfile, withoutComments } from "./guest-seccomp.ts";
import { identityFor, networkIdentityFor, ownersOf } from "./identity.ts";
import { loadedLabel } from "./label.ts";
import { filesOver, layRoot } from "./lay-root.ts";
import { type PlanFacts, planOci } from "./plan.ts";
import { type Programs, readVersion, requirePrograms } from "./probe.ts";
import { RUNTIMES, type Runtime, type RuntimeName } from "./runtimes.ts";

export interface OciOptions {
  readonly runtime: RuntimeName;
  /** A folder of ours, outside every sandbox. */
  readonly folder: string;
  readonly user: HostUser;
  readonly limits?: LimitBackend;
  /** The runtime's program; unset: where Debian puts it. */
  readonly program?: string;
}

const STAND_INS = "stand-ins";
/** Unpacked images, by the digest of their manifest. */
const IMAGES = "images";

/** What lies below everything else, and the folder of the host that it is made of. */
interface Bottom extends Pick<PlanFacts, "base" | "files"> {
  readonly folder: string;
}

/** What a driver finds out once, when it is first needed: a gateway has drivers that it never calls. */
interface Ready extends Programs {
  readonly host: HostLayout;
  readonly limits: LimitBackend;
  readonly pipes: PipeStore;
  readonly starter: Starter;
  readonly filter: {
    readonly profile: SeccompProfile;
    readonly digest: Digest;
    readonly canaryErrno: number;
  };
  readonly label: string | undefined;
  readonly identity: BuildIdentity;
}

/** Containers of runc and crun (class `process`), and of gVisor's runsc (class `gvisor`). */
export class OciDriver implements Driver {
  readonly name: RuntimeName;
  readonly supports: DriverSupport;
  readonly #runtime: Runtime;
  readonly #options: OciOptions;
  readonly #removals = new Set<Promise<void>>();
  #ready: Ready | undefined;

  constructor(options: OciOptions) {
    if (options.user.uid === 0)
      throw new GateError("ERR_INTERNAL", "the host's uid 0 never enters a sandbox");
    this.#runtime = RUNTIMES[options.runtime];
    this.#options = options;
    this.name = options.runtime;
    this.supports = {
      isolation: [this.#runtime.isolation],
      network: ["none", "names"],
      maskedPaths: true,
      roots: ["folder", "layout"],
      stagedWrites: true,
      airlock: true,
      evidence: this.#runtime.evidence,
    };
  }

  /** Builds a small sandbox for real, and inspects it: a version number does not say that it may be built here. */
  async probe(): Promise<Diagnosis> {
    try {
      const { runtime } = this.#setUp();
      const version = await readVersion(runtime);
      await using sandbox = await this.open(trialProfile(this.#runtime.isolation));
      await sandbox.inspect();
      return { usable: true, detail: `${version} at ${runtime}` };
    } catch (error) {
      if (!(error instanceof GateError)) return { usable: false, detail: String(error) };
      const { message, remedy } = error;
      return { usable: false, detail: message, ...(remedy === undefined ? {} : { remedy }) };
    }
  }

  async open(profile: Profile, options: OpenOptions = {}): Promise<Sandbox> {
    const undo: (() => void)[] = [];
    const { copyOf } = options;
    try {
      const network = joinedNetwork(profile, options);
      const ready = this.#readyFor(network);
      const bottom = await this.#bottom(ready, profile);
      const seed = await this.#plant(ready);
      undo.push(() => this.#uproot(seed));
      if (profile.treeLimits) requireTreeLimits(seed.group);
      seed.group.limit(this.#groupLimits(profile.limits));
      const standIns = holdStandIns(
        copyOf === undefined ? profile.files.protect : [],
        join(this.#options.folder, STAND_INS),
      );
      undo.push(standIns.release);
      const cell = await OciCell.start(
        seed,
        this.#parts(ready, profile, seed, options, standIns.folders, bottom, () => {
          standIns.release();
          this.#track(seed.discard());
        }),
      );
      return new CellSandbox(this.name, cell);
    } catch (error) {
      for (const step of undo.toReversed()) step();
      throw error instanceof GateError ? error : buildError(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#removals);
    await this.#ready?.starter[Symbol.asyncDispose]();
  }

  /** @throws GateError `ERR_DRIVER_UNAVAILABLE` naming what is not here. */
  #setUp(): Ready {
    if (this.#ready !== undefined) return this.#ready;
    const { folder, user, limits, program } = this.#options;
    const programs = requirePrograms(this.#runtime, program);
    const arch = seccompArch(process.arch);
    if (arch === undefined) {
      throw new GateError("ERR_DRIVER_UNAVAILABLE", `there is no seccomp profile for \`${process.arch}\``, {
        remedy: "run it on x86-64 or arm64",
      });
    }
    const { profile: full, canaryErrno } = defaultSeccomp(arch);
    const profile = this.#runtime.ownKernel ? guestProfile(full) : withoutComments(full);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    sweepStandIns(join(folder, STAND_INS));
    this.#ready = {
      ...programs,
      host: readHostLayout(),
      limits: limits ?? detectLimits(),
      pipes: new PipeStore(folder, user),
      starter: createStarter(folder),
      filter: {
        profile,
        digest: digestOf(JSON.stringify(profile)),
        canaryErrno: this.#runtime.ownKernel ? GUEST_CANARY_ERRNO : canaryErrno,
      },
      identity: identityFor(user),
      label: this.#runtime.ownKernel ? undefined : loadedLabel(),
    };
    return this.#ready;
  }

  #readyFor(network: JoinedNetwork | undefined): Ready {
    const ready = this.#setUp();
    return network === undefined ? ready : { ...ready, identity: networkIdentityFor(this.#options.user) };
  }

  /** What lies below everything else: the host's programs, or another root file system. */
  async #bottom({ host, identity }: Ready, profile: Profile): Promise<Bottom> {
    const { inside } = identity;
    const { root } = profile;
    if (root.from === "host") return { folder: "/", base: hostRoot(host), files: plannedFiles(host, inside) };
    if (root.from === "image") {
      throw new GateError("ERR_DRIVER_UNAVAILABLE", `${this.name} has no images of a container engine`, {
        remedy: "write `oci:PATH` for an OCI image layout, or ask for `container` isolation",
      });
    }
    const folder =
      root.from === "folder"
        ? root.path
        : await unpackedImage(readImage(root.path, root.digest), join(this.#options.folder, IMAGES));
    const files = filesOver(inside);
    return { folder, base: layRoot(folder, profile, files), files };
  }

  #parts(
    { runtime, launcher, filter, label, identity }: Ready,
    profile: Profile,
    seed: Seed,
    { copyOf, network }: OpenOptions,
    standIns: ReadonlySet<string>,
    { folder: root, ...bottom }: Bottom,
    onClosed: () => void,
  ): Parts {
    const { user } = this.#options;
    const plan = planOci(profile, {
      runtime: this.#runtime,
      ...bottom,
      ...(network === undefined
        ? {}
        : {
            files: replaced(bottom.files, networkFiles(network)),
            network: authorityFiles(network, root),
          }),
      kindOf: kindOfPath,
      standIns,
      ...(copyOf === undefined ? {} : { copyOf }),
      enforced: seed.group.enforces,
      inside: identity.inside,
      ownerOf: ownersOf(profile, user, copyOf),
      seccomp: filter.profile,
      launcher,
      label,
    });
    const expected: Expected = { identity, plan, label, seccomp: filter, limits: seed.group, network };
    const read = this.#runtime.ownKernel ? readGuestEvidence : readEvidence;
    const run = this.#runtime.command(runtime, {
      writes: profile.files.write.length > 0,
      joinsNetwork: network !== undefined,
    });
    return {
      runtime: this.#runtime,
      profile,
      command: builderCommand(identity, plan.steps, JSON.stringify(plan.config), run, network),
      variables: network?.environment ?? {},
      inspect: (pid) => read(pid, seed.dialogue, expected),
      onClosed,
    };
  }

  /** The group holds the whole tree, the runtime's own processes with it: they come on top of the tool's. */
  #groupLimits(limits: Limits): Limits {
    const { tasks, tasksPerProcess, memoryBytes } = this.#runtime;
    return {
      ...limits,
      processes: limits.processes * tasksPerProcess + tasks,
      memoryBytes: limits.memoryBytes + memoryBytes,
    };
  }

  async #plant({ pipes: store, limits, starter, launcher }: Ready): Promise<Seed> {
    const pipes = await store.claim(3);
    const group = limits.create();
    try {
      return await Seed.plant({
        group,
        pipes,
        starter,
        files: [],
        launcher,
        requestPath: join(this.#options.folder, `request-${process.pid}-${process.hrtime.bigint()}`),
      });
    } catch (error) {
      for (const pipe of pipes) pipe.release();
      this.#track(group.remove());
      throw error;
    }
  }

  #uproot(seed: Seed): void {
    seed.kill();
    this.#track(seed.exited.then(() => seed.discard()));
  }

  /** Groups are removed off the path of the call; closing the driver waits for the last. */
  #track(removal: Promise<void>): void {
    this.#removals.add(removal);
    void removal.finally(() => this.#removals.delete(removal));
  }
}

/** `files`, with others in place of those of the same path: what a root has of its own stays as it is. */
function replaced(files: readonly PlannedFile[], by: readonly PlannedFile[]): readonly PlannedFile[] {
  return files.map((file) => by.find(({ path }) => path === file.path) ?? file);
}

/** A granted path that vanished meanwhile, a full disk, too many open files: the kernel's own words. */
function buildError(cause: unknown): GateError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GateError("ERR_SANDBOX_START", `the sandbox could not be built: ${why}`, {
    cause,
    remedy: "run `callgate doctor`",
  });
}

function trialProfile(isolation: IsolationClass): Profile {
  return {
    isolation,
    root: { from: "host" },
    files: { read: [], write: [], hide: [], protect: [] },
    network: { mode: "none" },
    environment: {},
    workingDirectory: "/",
    limits: DEFAULT_LIMITS,
    treeLimits: false,
  };
}
