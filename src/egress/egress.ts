import { mkdirSync, rmSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { GateError } from "../contract/errors.ts";
import type { Network } from "../contract/network.ts";
import type { GateCredential } from "./credentials/credential.ts";
import { Guard } from "./guard.ts";
import type { Authority } from "./http/authority.ts";
import { KeptNamespaces } from "./kept-namespaces.ts";
import { NameTable } from "./names.ts";
import { SandboxNetwork } from "./network.ts";
import type { Resolver } from "./resolver.ts";
import type { TrustFiles } from "./trust-files.ts";

type Names = Extract<Network, { mode: "names" }>;

/** Half of an authority's life: its certificates have to outlive the sandboxes that trust it. */
export const AUTHORITY_MS_MAX: number = 15 * 86_400_000;

export interface EgressOptions {
  /** `native/guard.c`, built; undefined: it was not, and no sandbox has a network. */
  readonly guard: string | undefined;
  /** Whose a sandbox's network is: the sandbox's user. Unset: this process's. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** A folder of this process's, outside of every sandbox; gone when this is closed. */
  readonly folder: string;
  readonly resolver: Resolver;
  /** Authorities beside the system's that the gate and its tools trust, PEM. */
  readonly authorities: readonly string[];
}

/** The edge of the network of a gateway's sandboxes. */
export class Egress implements AsyncDisposable {
  readonly #options: EgressOptions;
  readonly #kept = new KeptNamespaces();
  readonly #trusted = new Map<string, Promise<TrustFiles>>();
  #guard: Guard | undefined;
  #authority: { readonly made: Promise<Authority>; readonly madeMs: number } | undefined;
  #trustOutside: (() => SecureContext) | undefined;

  constructor(options: EgressOptions) {
    this.#options = options;
  }

  /**
   * Makes the network of one sandbox.
   * @param credentials those that its rules name
   * @param owner whose sandboxes may follow each other in one namespace; unset: it is made new, and thrown away
   * @throws GateError `ERR_CONTROL_UNAVAILABLE`, `ERR_SANDBOX_START` where the host does not give one.
   */
  async open(
    network: Names,
    credentials: readonly GateCredential[],
    owner?: string,
  ): Promise<SandboxNetwork> {
    const { resolver, authorities } = this.#options;
    const table = new NameTable(network.allow, network.observe);
    const opens = network.allow.some(
      ({ protocol, http, credential }) =>
        protocol === "tls" && (http !== undefined || credential !== undefined),
    );
    const authority = opens ? await this.#own() : undefined;
    const trusted = [...authorities, ...(authority === undefined ? [] : [authority.pem])];
    const trust = trusted.length === 0 ? undefined : await this.#trust(trusted);
    const listeners = table.listeners();
    const key = owner === undefined ? undefined : JSON.stringify([owner, listeners, table.literals]);
    const space =
      (key === undefined ? undefined : this.#kept.take(key)) ??
      (await this.#guarding().make(listeners, table.literals));
    try {
      return new SandboxNetwork({
        space,
        giveBack: (given) => this.#kept.giveBack(key, given),
        table,
        resolver,
        credentials,
        trust,
        opening: { authority, outside: await this.#outside(network) },
      });
    } catch (error) {
      await space[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]();
    rmSync(this.#options.folder, { recursive: true, force: true });
    await this.#guard?.[Symbol.asyncDispose]();
  }

  #guarding(): Guard {
    const { guard: program, user } = this.#options;
    if (program === undefined) {
      throw new GateError(
        "ERR_CONTROL_UNAVAILABLE",
        "the program that guards a sandbox's network was not built",
        {
          remedy: "install a C compiler (apt-get install gcc libc6-dev), and run `sh native/build.sh`",
        },
      );
    }
    this.#guard ??= new Guard({ program, ...(user === undefined ? {} : { user }) });
    return this.#guard;
  }

  /**
   * Made when a rule first opens a connection, and anew before it is old; its key is in this process's memory only.
   * What is open keeps the one that it trusts.
   */
  #own(): Promise<Authority> {
    if (this.#authority !== undefined && performance.now() - this.#authority.madeMs < AUTHORITY_MS_MAX)
      return this.#authority.made;
    const made = import("./http/authority.ts").then(({ Authority }) => Authority.create());
    const own = { made, madeMs: performance.now() };
    this.#authority = own;
    made.catch(() => {
      if (this.#authority === own) this.#authority = undefined;
    });
    return made;
  }

  /** Loaded where a rule opens something. */
  async #outside({ allow }: Names): Promise<() => SecureContext> {
    const opens = allow.some(({ protocol, http, credential }) => protocol === "http" || http || credential);
    if (!opens) return () => createSecureContext();
    const { outsideTrust } = await import("./http/upstream.ts");
    this.#trustOutside ??= outsideTrust(this.#options.authorities);
    return this.#trustOutside;
  }

  /** The same authorities make the same files: reading the system's takes tens of milliseconds. */
  async #trust(authorities: readonly string[]): Promise<TrustFiles> {
    const key = authorities.join();
    const known = this.#trusted.get(key) ?? this.#makeTrust(authorities);
    this.#trusted.set(key, known);
    try {
      return await known;
    } catch (error) {
      if (this.#trusted.get(key) === known) this.#trusted.delete(key);
      throw error;
    }
  }

  async #makeTrust(authorities: readonly string[]): Promise<TrustFiles> {
    const { trustFiles } = await import("./trust-files.ts");
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
    return trustFiles(this.#options.folder, authorities);
  }
}
