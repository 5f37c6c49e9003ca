import type { Profile } from "./contract/profile.ts";
import type { Egress } from "./egress/egress.ts";
import type { Driver } from "./sandbox/driver.ts";

/** Where the edge of the network comes from, when it is first needed. */
interface EgressSource {
  get(): Promise<Egress>;
}

/** The driver, with a network for its sandbox where the profile names hosts. */
export function throughEgress(driver: Driver, { network: asked }: Profile, egress: EgressSource): Driver {
  if (asked.mode === "none") return driver;
  return {
    name: driver.name,
    supports: driver.supports,
    probe: () => driver.probe(),
    open: async (profile, options) => {
      const { NetworkedSandbox } = await import("./networked-sandbox.ts");
      const network = await (await egress.get()).open(asked, []);
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
