import canonicalize from "canonicalize";
import type { Profile } from "./contract/profile.ts";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { Tool } from "./contract/tool.ts";
import type { GateCredential } from "./egress/credentials/credential.ts";
import type { Egress } from "./egress/egress.ts";
import type { PreparedCall } from "./gate.ts";
import type { Driver } from "./sandbox/driver.ts";

/** What the networks of sandboxes are made of. */
export interface NetworkSource {
  /** Made when the first call needs one. */
  egress(): Promise<Egress>;
  /** Those that the profile's rules name, if the tool may have them. @throws GateError where it may not. */
  credentialsOf(tool: Tool, profile: Profile): Promise<readonly GateCredential[]>;
}

/** Callers and tools whose drivers are known; the oldest is made anew. */
export const DRIVERS_MAX = 256;

/** Drivers that give a sandbox a network where its profile names hosts. */
export class NetworkedDrivers {
  readonly #source: NetworkSource;
  /** The pool tells drivers apart by what they are: the same one comes back for the same tool. */
  readonly #known = new WeakMap<Driver, Map<string, Driver>>();

  constructor(source: NetworkSource) {
    this.#source = source;
  }

  for(driver: Driver, { tool, call }: PreparedCall, profile: Profile): Driver {
    if (profile.network.mode === "none") return driver;
    const ofDriver = this.#known.get(driver) ?? new Map<string, Driver>();
    this.#known.set(driver, ofDriver);
    const owner = canonicalize([call.caller, tool.digest]) ?? "";
    const networked = ofDriver.get(owner) ?? this.#around(driver, tool, owner);
    ofDriver.delete(owner);
    ofDriver.set(owner, networked);
    for (const oldest of [...ofDriver.keys()].slice(0, -DRIVERS_MAX)) ofDriver.delete(oldest);
    return networked;
  }

  #around(driver: Driver, tool: Tool, owner: string): Driver {
    // Where nothing may be reused, a namespace is not either.
    const keptFor = TIER_MINIMUMS[tool.tier].pooled ? owner : undefined;
    return {
      name: driver.name,
      supports: driver.supports,
      probe: () => driver.probe(),
      open: async (profile, options) => {
        const asked = profile.network;
        if (asked.mode === "none") return await driver.open(profile, options);
        const credentials = await this.#source.credentialsOf(tool, profile);
        const { NetworkedSandbox } = await import("./networked-sandbox.ts");
        const network = await (await this.#source.egress()).open(asked, credentials, keptFor);
        try {
          const sandbox = await driver.open(profile, { ...options, network: network.joined });
          return new NetworkedSandbox(sandbox, network);
        } catch (error) {
          await network[Symbol.asyncDispose]();
          throw error;
        }
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }
}
