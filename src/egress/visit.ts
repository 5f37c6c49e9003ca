import type { OnReadOpts, Socket } from "node:net";
import type { EgressFact, NetworkRule } from "../contract/network.ts";
import type { Bounds } from "./bounds.ts";
import type { GateCredential } from "./credentials/credential.ts";

/** A connection to the outside, to an address that was resolved once and checked. */
export interface Dialed {
  /** `allowHalfOpen`, paused. */
  readonly socket: Socket;
  /** The address it is connected to, as text. */
  readonly address: string;
}

/** One connection made inside a sandbox, on its way: what judges it and carries it is told this. */
export interface Visit {
  /** Accepted inside; `allowHalfOpen`, paused, nothing read of it yet. Whoever serves the visit destroys it. */
  readonly socket: Socket;
  readonly rule: NetworkRule;
  /** The name whose address it was made to, lower case. */
  readonly name: string;
  readonly port: number;
  /**
   * Resolves the name, checks every address against the rule, and connects to one that passed.
   * @param onread for `net.connect`: the socket may then be read only through it
   * @throws Refusal where no address may be reached, or none answers.
   */
  readonly dial: (signal: AbortSignal, onread?: OnReadOpts) => Promise<Dialed>;
  /** Every visit ends with exactly one fact of kind `connection`. */
  readonly report: (fact: EgressFact) => void;
  /** Shared by all connections of the sandbox. */
  readonly bounds: Bounds;
  /** Aborted when the sandbox is gone: nothing goes on after that. */
  readonly signal: AbortSignal;
  /** The rule's credential, where it has one. */
  readonly credential?: GateCredential;
  /** All credentials of this sandbox: a placeholder of any other on its way here is a denial. */
  readonly credentials: readonly GateCredential[];
}

/** Something that is refused, with words for the record and the tool's owner. Not a fault. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  /** What would let it pass, where somebody can. */
  readonly remedy: string | undefined;

  constructor(why: string, options: ErrorOptions & { readonly remedy?: string | undefined } = {}) {
    super(why, options);
    this.remedy = options.remedy;
  }
}

/** For a fact: the way out of a refusal, where it has one. */
export function remedyIn(error: unknown): Pick<EgressFact, "remedy"> {
  return error instanceof Refusal && error.remedy !== undefined ? { remedy: error.remedy } : {};
}
