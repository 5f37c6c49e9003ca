/** What a rule lets pass once its name and port fit. */
export type NetworkProtocol = "tls" | "http" | "tcp";

/** One kind of request that a rule lets through where its connection is opened. */
export interface HttpRule {
  /** Upper case; never empty. */
  readonly methods: readonly string[];
  /** Patterns over the normalised path: `*` is any run of characters but `/`, a last `/**` is everything below. */
  readonly paths: readonly string[];
  /** A WebSocket may be opened by such a request. */
  readonly upgrade?: true;
}

/** A name a tool may reach. A connection that fits no rule does not exist for the tool. */
export interface NetworkRule {
  /** Lower-case ASCII name; `*.` and a name that is no public suffix, for every name below it; or an IPv4 literal. */
  readonly host: string;
  /** Never empty. */
  readonly ports: readonly number[];
  /**
   * `tls`: a ClientHello whose SNI is the name, passed through end to end, or opened at the gate where `http` or
   * `credential` is set. `http`: requests in clear, judged like opened ones. `tcp`: whatever it is.
   */
  readonly protocol: NetworkProtocol;
  /** Which requests pass; unset with `credential`: all of them. Unset without: nothing is opened. */
  readonly http?: readonly HttpRule[];
  /** Name of a credential that the gate adds; the sandbox never holds it. */
  readonly credential?: string;
  /** The name may stand for a private, loopback or link-local address. */
  readonly allowPrivate?: true;
}

/** What a tool may reach. */
export type Network =
  | { readonly mode: "none" }
  | {
      readonly mode: "names";
      readonly allow: readonly NetworkRule[];
      /** A learning run: every other name is answered and noted; `refuse` lets none pass, `allow` all. */
      readonly observe?: "refuse" | "allow";
    };

/** One thing that happened at the edge of a sandbox's network: a name, a connection or a request in one. */
export interface EgressFact {
  readonly verdict: "allowed" | "refused";
  /**
   * `dns`: a name that was asked for and refused; `request`: one inside of an opened connection; `attempts`: what the
   * kernel of the sandbox's network refused by itself, counted, without a name.
   */
  readonly kind: "dns" | "connection" | "request" | "attempts";
  /** Empty for `attempts`, else as the tool asked for it, lower case, at most 253 characters, nothing unprintable. */
  readonly name: string;
  /** Null where only a name was asked for. */
  readonly port: number | null;
  /** Of a refusal, or how an allowed one ended where that was not the two ends' own doing. */
  readonly why?: string;
  /** What would let a refused one pass; no part of the record. */
  readonly remedy?: string;
  /** The real address; absent where it was never dialled. */
  readonly address?: string;
  readonly startedMs: number;
  readonly durationMs: number;
  /** From the tool, and to it. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Method, path without its query, and status (null: no answer) of a request. */
  readonly request?: { readonly method: string; readonly path: string; readonly status: number | null };
  /** The credential that was added. */
  readonly credential?: string;
}
