import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { DockerSettings } from "../../../contract/docker.ts";
import { GateError } from "../../../contract/errors.ts";
import { type Digest, digestOf } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import { isWithin } from "../../../contract/within.ts";
import type { Diagnosis, OpenOptions } from "../../driver.ts";
import { LANDLOCK_TRIAL } from "../../launcher.ts";
import { kindOfPath, madeFiles } from "../../mounts.ts";
import { PipeStore } from "../../pipes.ts";
import { hasEnded, readStartTicks } from "../../procfs.ts";
import { defaultSeccomp, seccompArch } from "../../seccomp/default.ts";
import { holdStandIns, sweepStandIns } from "../../stand-ins.ts";
import type { HostUser } from "../../user.ts";
import { ContainerCell } from "./cell.ts";
import { openChannels, PIPE_COUNT } from "./channels.ts";
import {
  type DaemonFacts,
  ownLabels,
  readDaemon,
  removeContainer,
  removeOrphans,
  requireRuntime,
} from "./daemon.ts";
import type { DockerOptions } from "./driver.ts";
import { connectEngine, type Engine } from "./engine.ts";
import { findImage, type ImageFacts, imageReference } from "./image.ts";
import { findKit, type KitFile } from "./init.ts";
import { planContainer } from "./plan.ts";
import { probeDocker } from "./probe.ts";

/** What is found out once about the daemon and this host. */
interface Ground {
  readonly daemon: DaemonFacts;
  readonly kit: readonly KitFile[];
  readonly pipes: PipeStore;
}

const STAND_INS = "stand-ins";
const CELL = /^cell-(\d+)-(\d+)-\d+$/;

/** Makes containers, and takes them away again. */
export class Containers {
  readonly #folder: string;
  readonly #user: HostUser;
  readonly #settings: DockerSettings;
  readonly #engine: Engine;
  readonly #seccomp: { readonly json: string; readonly digest: Digest; readonly canaryErrno: number };
  readonly #files: readonly KitFile[];
  readonly #images = new Map<string, Promise<ImageFacts>>();
  readonly #removals = new Set<Promise<void>>();
  /** Containers that the daemon could not remove when it was asked. */
  readonly #left = new Set<string>();
  #ground: Promise<Ground> | undefined;
  #made = 0;

  constructor({ folder, user, settings }: DockerOptions) {
    const arch = seccompArch(process.arch);
    if (arch === undefined) {
      throw new GateError("ERR_CONTROL_UNAVAILABLE", `there is no seccomp program for \`${process.arch}\``, {
        remedy: "run it on x86-64 or arm64",
      });
    }
    const { profile, canaryErrno } = defaultSeccomp(arch);
    const json = JSON.stringify(profile);
    this.#seccomp = { json, digest: digestOf(json), canaryErrno };
    this.#folder = folder;
    this.#user = user;
    this.#settings = settings;
    this.#engine = connectEngine(settings.socket);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    sweepStandIns(join(folder, STAND_INS));
    sweepCells(folder);
    this.#files = madeFiles(user).flatMap(({ path, content }) =>
      content === undefined || path === LANDLOCK_TRIAL
        ? []
        : [{ point: path, source: this.#keep(path, content) }],
    );
  }

  async probe(): Promise<Diagnosis> {
    return await probeDocker(this.#engine, this.#settings);
  }

  async open(profile: Profile, { copyOf }: OpenOptions = {}): Promise<ContainerCell> {
    const undo: (() => void)[] = [];
    try {
      refuseSocket(profile, this.#settings.socket);
      const reference = imageReference(profile.root, this.#settings.image);
      const { daemon, kit, pipes: store } = await this.#prepare();
      const image = await this.#image(reference);
      const standIns = holdStandIns(
        copyOf === undefined ? profile.files.protect : [],
        join(this.#folder, STAND_INS),
      );
      undo.push(standIns.release);
      const pipes = await store.claim(PIPE_COUNT);
      undo.push(() => {
        for (const pipe of pipes) pipe.release();
      });
      const channels = openChannels(this.#cellFolder(), pipes);
      undo.push(() => channels.close([]));
      const plan = planContainer(profile, {
        image,
        kit,
        channels: channels.folder,
        files: this.#files,
        user: this.#user,
        kindOf: kindOfPath,
        standIns: standIns.folders,
        ...(copyOf === undefined ? {} : { copyOf }),
        seccomp: this.#seccomp.json,
        runtime: this.#settings.runtime,
        processors: daemon.processors,
        labels: ownLabels(),
      });
      const container = await ContainerCell.make(this.#engine, plan);
      undo.length = 0; // the cell gives back all of it
      return await ContainerCell.start(container, {
        engine: this.#engine,
        plan,
        profile,
        user: daemon.onHost(this.#user),
        inside: this.#user,
        seccomp: this.#seccomp,
        pipes,
        channels,
        standIns,
        remove: (id) => this.#discard(id),
      });
    } catch (error) {
      // The daemon may be started, or be another, by the next call.
      this.#ground = undefined;
      this.#images.clear();
      for (const step of undo.reverse()) step();
      throw error instanceof GateError ? error : buildError(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#removals);
    this.#engine.close();
  }

  async #prepare(): Promise<Ground> {
    this.#ground ??= this.#survey();
    const ground = await this.#ground;
    for (const container of this.#left) void this.#discard(container);
    return ground;
  }

  async #survey(): Promise<Ground> {
    const [daemon, kit] = await Promise.all([readDaemon(this.#engine), findKit()]);
    requireRuntime(daemon, this.#settings.runtime);
    this.#track(removeOrphans(this.#engine).catch(() => {}));
    return { daemon, kit, pipes: new PipeStore(this.#folder, daemon.onHost(this.#user)) };
  }

  /** A digest means the same for ever, so it is looked up once. */
  async #image(reference: string): Promise<ImageFacts> {
    const known = this.#images.get(reference) ?? findImage(this.#engine, reference);
    this.#images.set(reference, known);
    return await known;
  }

  /** Off the path of the call; closing the driver waits for the last. */
  #discard(container: string): Promise<void> {
    this.#left.delete(container);
    const removal = removeContainer(this.#engine, container)
      .catch(() => false)
      .then((isGone) => {
        if (!isGone) this.#left.add(container);
      });
    this.#track(removal);
    return removal;
  }

  #track(work: Promise<void>): void {
    this.#removals.add(work);
    void work.finally(() => this.#removals.delete(work));
  }

  #cellFolder(): string {
    this.#made += 1;
    return join(this.#folder, `cell-${process.pid}-${readStartTicks(process.pid)}-${this.#made}`);
  }

  /** A small file that a container's user reads; written anew unless it is there to the byte. */
  #keep(point: string, content: string): string {
    const path = join(this.#folder, `made${point.replaceAll("/", "-")}`);
    try {
      if (readFileSync(path, "utf8") === content) return path;
    } catch {
      // not there yet
    }
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, content);
    chmodSync(draft, 0o444);
    renameSync(draft, path);
    return path;
  }
}

/** Whoever reaches the daemon is root on this host. */
function refuseSocket({ files }: Profile, socket: string): void {
  const real = realAhead(socket);
  const grant = [...files.read, ...files.write].find(
    (path) => isWithin(real, path) || isWithin(socket, path),
  );
  if (grant === undefined) return;
  throw new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `\`${grant}\` is never opened to a container: the daemon's socket \`${socket}\` is in it`,
    {
      remedy: "name the folder inside it that the tool needs",
    },
  );
}

function buildError(cause: unknown): GateError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GateError("ERR_SANDBOX_START", `the container could not be built: ${why}`, {
    cause,
    remedy: "run `callgate doctor`",
  });
}

/** What a gateway that was killed has left: links to pipes, whose other ends are gone with it. */
function sweepCells(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, pid, ticks] = CELL.exec(name) ?? [];
    if (ticks !== undefined && hasEnded(Number(pid), ticks)) rmSync(join(folder, name), { recursive: true });
  }
}

function realAhead(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // no daemon has made it yet
  }
}
