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
    const denials = new Denials();
    this.#network.follow((fact) => {
      denials.note(fact);
      options.onEgress?.(fact);
    });
    let execution: Execution;
    try {
      execution = await this.#sandbox.release(capability, command, options);
    } finally {
      await this.#network.drain();
    }
    if (execution.outcome === "unstarted") return execution;
    return { ...execution, denials: [...execution.denials, ...denials.all] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using network = this.#network;
    await this.#sandbox[Symbol.asyncDispose]();
    await network.leave();
  }
}

/** Each thing once, however often it was tried, with the rule that would have let it through where one could. */
class Denials {
  readonly #seen = new Map<string, Denial>();

  note({ verdict, name, port, why = "", request, kind, remedy }: EgressFact): void {
    if (verdict !== "refused" || this.#seen.size >= EGRESS_DENIALS_MAX) return;
    const place = name === "" ? "an address or a port" : port === null ? name : `${name}:${port}`;
    const what = request === undefined ? place : `${request.method} ${place}${request.path}`;
    const key = `${what}\n${why}`;
    if (this.#seen.has(key)) return;
    // Of a name that no rule has; what was refused on its way brings its own.
    const way = kind === "dns" && name !== "" && remedy === undefined ? ruleFor(name) : remedy;
    this.#seen.set(key, { kind: "egress", what, why, ...(way === undefined ? {} : { remedy: way }) });
  }

  get all(): readonly Denial[] {
    return [...this.#seen.values()];
  }
}
