import type { DockerSettings } from "../../../contract/docker.ts";
import { GateError } from "../../../contract/errors.ts";
import type { Profile } from "../../../contract/profile.ts";
import { CellSandbox } from "../../cell.ts";
import {
  type Diagnosis,
  type Driver,
  type DriverSupport,
  type OpenOptions,
  type Sandbox,
  verifiedBut,
} from "../../driver.ts";
import type { HostUser } from "../../user.ts";
import type { Containers } from "./containers.ts";

export interface DockerOptions {
  /** A folder of ours, outside every sandbox. */
  readonly folder: string;
  readonly user: HostUser;
  readonly settings: DockerSettings;
}

/** Isolation class `container`: the Docker Engine's, made as tight as the Engine can. */
export class DockerDriver implements Driver {
  readonly name = "docker";
  readonly supports: DriverSupport = {
    isolation: ["container"],
    network: ["none"],
    maskedPaths: true,
    airlock: true,
    stagedWrites: true,
    roots: ["image"],
    // A host without a security module that labels has none.
    evidence: verifiedBut({}),
  };
  readonly #options: DockerOptions;
  #containers: Promise<Containers> | undefined;

  constructor(options: DockerOptions) {
    if (options.user.uid === 0)
      throw new GateError("ERR_INTERNAL", "the host's uid 0 never enters a sandbox");
    this.#options = options;
  }

  async probe(): Promise<Diagnosis> {
    try {
      return await (await this.#load()).probe();
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return { usable: false, detail, remedy: "check the state folder" };
    }
  }

  async open(profile: Profile, options?: OpenOptions): Promise<Sandbox> {
    return new CellSandbox(this.name, await (await this.#load()).open(profile, options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#containers?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  /** Late: most calls are not for this driver, and an HTTP client takes its time to load. */
  #load(): Promise<Containers> {
    this.#containers ??= import("./containers.ts").then(({ Containers }) => new Containers(this.#options));
    return this.#containers;
  }
}
