import { chmodSync, lstatSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../../../contract/errors.ts";
import type { Digest } from "../../../contract/ids.ts";
import type { Profile } from "../../../contract/profile.ts";
import { CellSandbox } from "../../cell.ts";
import type { Diagnosis, Driver, DriverSupport, Sandbox } from "../../driver.ts";
import { type HostLayout, readHostLayout } from "../../host.ts";
import { LIMITED, type LimitBackend, type LimitGroup } from "../../limits/backend.ts";
import { detectLimits } from "../../limits/detect.ts";
import { nativeProgram } from "../../native.ts";
import { PipeStore } from "../../pipes.ts";
import { strayDescriptors } from "../../procfs.ts";
import { type DefaultSeccomp, defaultSeccomp, seccompArch } from "../../seccomp/default.ts";
import type { SeccompArch } from "../../seccomp/profile.ts";
import type { HostUser } from "../../user.ts";
import { BubblewrapCell, type Parts } from "./cell.ts";
import { planBubblewrap } from "./plan.ts";
import { probeBubblewrap } from "./probe.ts";

import { stageGrants } from "./staging.ts";

export interface BubblewrapOptions {
  /** A folder of ours, outside every sandbox: pipes and the small files that are copied in. */
  readonly folder: string;
  readonly user: HostUser;
  readonly limits?: LimitBackend;
  /** Unset: the native launcher where it was built; null: bash, even there. */
  readonly launcher?: string | null;
}

/** Isolation class `process`: namespaces, seccomp, no capabilities, an unprivileged host user. */
export class BubblewrapDriver implements Driver {
  readonly name = "bubblewrap";
  readonly supports: DriverSupport = {
    isolation: ["process"],
    network: ["none"],
    maskedPaths: true,
    airlock: true,
    explainsSyscalls: true,
  };
  readonly #folder: string;
  readonly #user: HostUser;
  readonly #host: HostLayout;
  readonly #limits: LimitBackend;
  readonly #pipes: PipeStore;
  readonly #arch: SeccompArch;
  readonly #seccomp: DefaultSeccomp;
  readonly #stray: readonly number[];
  readonly #launcher: string | undefined;
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
    this.#stray = strayDescriptors();
    this.#launcher =
      (options.launcher === undefined ? nativeProgram("launch") : options.launcher) ?? undefined;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  async probe(): Promise<Diagnosis> {
    return await probeBubblewrap(this.#user);
  }

  async open(profile: Profile): Promise<Sandbox> {
    const undo: (() => void)[] = [];
    try {
      const group = this.#limits.create();
      undo.push(() => this.#track(group.remove()));
      if (profile.treeLimits) requireTreeLimits(group);
      group.limit(profile.limits);
      const staging = stageGrants(profile, this.#user);
      const sourceOf = staging === undefined ? {} : { sourceOf: staging.sourceOf };
      const plan = planBubblewrap(profile, {
        host: this.#host,
        kindOf,
        enforced: group.enforces,
        native: this.#launcher !== undefined,
        ...sourceOf,
      });
      const pipes = await this.#pipes.claim(3);
      undo.push(() => {
        for (const pipe of pipes) pipe.release();
      });
      const parts: Parts = {
        plan,
        staging: staging?.command ?? [],
        profile,
        group,
        user: this.#user,
        pipes,
        stray: this.#stray,
        ...(await this.#filter(profile)),
        files: plan.files.map(({ path, content }, index) =>
          content === undefined ? path : this.#keep(`file-${index}`, Buffer.from(content)),
        ),
        launcher: this.#launcher,
        requestPath: join(this.#folder, `request-${process.pid}-${process.hrtime.bigint()}`),
        onClosed: (removal) => this.#track(removal),
      };
      return new CellSandbox(this.name, await BubblewrapCell.start(parts));
    } catch (error) {
      for (const step of undo) step();
      throw error instanceof GateError ? error : buildError(error);
    }
  }

  /** The filter that bubblewrap loads; a run that explains has another, and a supervisor. */
  async #filter({ explainSyscalls }: Profile): Promise<Pick<Parts, "seccomp" | "explain">> {
    const { digest, program, canaryErrno } = this.#seccomp;
    if (explainSyscalls !== true)
      return { seccomp: { digest, canaryErrno, path: this.#keepProgram(digest, program) } };
    const { explainSyscalls: explain, requireExplainable } = await import("../../seccomp/notify.ts");
    const { explainPrograms } = await import("../../seccomp/explain-program.ts");
    requireExplainable();
    const asking = explainPrograms(this.#arch);
    return {
      seccomp: { digest: asking.digest, canaryErrno, path: this.#keepProgram(asking.digest, asking.outer) },
      explain: (launcher) => explain(launcher, this.#user, this.#arch),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#removals);
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

function requireTreeLimits(group: LimitGroup): void {
  const missing = LIMITED.filter((limited) => !group.enforces.has(limited));
  if (missing.length === 0) return;
  throw new GateError(
    "ERR_CONTROL_UNAVAILABLE",
    `no cgroup bounds ${missing.join(", ")} here, and this tier needs one`,
    {
      remedy:
        "run the gateway as root, or under a delegated cgroup v2 (systemd-run --user --scope -p Delegate=yes)",
    },
  );
}

function kindOf(path: string): "dir" | "file" | "absent" {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return "absent";
  return entry.isDirectory() ? "dir" : "file";
}
