import type { Capability } from "./contract/capability.ts";
import type { Controls, Denial, Execution } from "./contract/execution.ts";
import type { EgressFact } from "./contract/network.ts";
import type { SandboxNetwork } from "./egress/network.ts";
import { ruleFor } from "./learn.ts";
import type { Command, ReleaseOptions, Sandbox } from "./sandbox/driver.ts";

/** How many refusals a result lists; the record has all. */
export const EGRESS_DENIALS_MAX = 100;

/** A sandbox and the network that was made for it: they end together. */
export class NetworkedSandbox implements Sandbox {
  readonly #sandbox: Sandbox;
  readonly #network: SandboxNetwork;

  constructor(sandbox: Sandbox, network: SandboxNetwork) {
    this.#sandbox = sandbox;
    this.#network = network;
  }

  get driver(): string {
    return this.#sandbox.driver;
  }

  get alive(): boolean {
    return this.#sandbox.alive && this.#network.alive;
  }

  memoryBytes(): number | null {
    return this.#sandbox.memoryBytes();
  }

  async inspect(): Promise<Controls> {
    return await this.#sandbox.inspect();
  }

  async release(capability: Capability, command: Command, options: ReleaseOptions = {}): Promise<Execution> {
    const refused: EgressFact[] = [];
    this.#network.follow((fact) => {
      if (fact.verdict === "refused") refused.push(fact);
      options.onEgress?.(fact);
    });
    let execution: Execution;
    try {
      execution = await this.#sandbox.release(capability, command, options);
    } finally {
      await this.#network.drain();
    }
    if (execution.outcome === "unstarted") return execution;
    return { ...execution, denials: [...execution.denials, ...egressDenials(refused)] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#sandbox[Symbol.asyncDispose]();
    } finally {
      await this.#network[Symbol.asyncDispose]();
    }
  }
}

/** Each thing once, however often it was tried, with the rule that would have let it through where one could. */
function egressDenials(refused: readonly EgressFact[]): readonly Denial[] {
  const denials = new Map<string, Denial>();
  for (const fact of refused) {
    const { name, port, why = "", request, kind } = fact;
    const place = name === "" ? "an address or a port" : port === null ? name : `${name}:${port}`;
    const what = request === undefined ? place : `${request.method} ${place}${request.path}`;
    const remedy = kind === "connection" || kind === "attempts" ? {} : { remedy: ruleFor(fact) };
    denials.set(`${what}\n${why}`, { kind: "egress", what, why, ...remedy });
    if (denials.size >= EGRESS_DENIALS_MAX) break;
  }
  return [...denials.values()];
}
