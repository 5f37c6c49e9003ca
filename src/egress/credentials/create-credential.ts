import { inspect } from "node:util";
import { GateError } from "../../contract/errors.ts";
import { PlaceholderWatch } from "../placeholder-watch.ts";
import { Refusal } from "../visit.ts";
import type { GateCredential, OutgoingRequest } from "./credential.ts";
import type { CredentialKind, CredentialOptions, CredentialSpec } from "./kinds.ts";
import { newPlaceholder } from "./placeholder.ts";
import { joinTarget, newPair, splitTarget } from "./query.ts";
import { basicWord, type Held, holdSecret } from "./secret.ts";
import { signRequest } from "./sign.ts";
import { octetsOf, swapAll } from "./swap.ts";

/** How long a failure to fetch a secret is believed. */
export const FETCH_AGAIN_MS = 1_000;

/**
 * A credential for one sandbox. Its secret is asked for when the first request needs it, and once.
 * @param source its words reach the tool only where they are a GateError's
 */
export function createCredential(
  spec: CredentialSpec,
  source: () => Promise<string>,
  options: CredentialOptions = {},
): GateCredential {
  return new HeldCredential(spec, source, options);
}

class HeldCredential implements GateCredential {
  readonly name: string;
  readonly host: string;
  readonly masksResponses: boolean;
  readonly signsBody: boolean;
  readonly #how: CredentialKind;
  readonly #variable: string | undefined;
  readonly #placeholder: string;
  readonly #source: () => Promise<string>;
  #failedMs: number | undefined;
  readonly #onSecret: (values: readonly string[]) => void;
  readonly #now: () => number;
  #held: Promise<Held> | undefined;
  #secrets: readonly string[] = [];

  constructor(spec: CredentialSpec, source: () => Promise<string>, options: CredentialOptions) {
    this.name = spec.name;
    this.host = spec.host;
    this.masksResponses = spec.masksResponses;
    this.signsBody = spec.how.kind === "sigv4";
    this.#how = spec.how;
    this.#variable = spec.variable;
    this.#placeholder = newPlaceholder(spec.shape);
    this.#source = source;
    this.#onSecret = options.onSecret ?? (() => {});
    this.#now = options.now ?? Date.now;
  }

  get variables(): Readonly<Record<string, string>> {
    return this.#variable === undefined ? {} : { [this.#variable]: this.#placeholder };
  }

  get placeholders(): readonly string[] {
    return [this.#placeholder];
  }

  get secrets(): readonly string[] {
    return this.#secrets;
  }

  async attach(request: OutgoingRequest, body?: Uint8Array): Promise<void> {
    if (request.host !== this.host) throw new Refusal(`credential \`${this.name}\` is not for this host`);
    const held = await this.#hold();
    // On a copy: a request that is refused half-way is as it was.
    const made: OutgoingRequest = { ...request, headers: [...request.headers] };
    const swapped =
      held.keys === undefined
        ? swapAll(made, this.#placeholder, held.secret, placesOf(this.#how))
        : new Set<number>();
    await this.#add(made, held, swapped, body);
    this.#checkLeft(made);
    request.target = made.target;
    request.headers = made.headers;
  }

  toJSON(): { readonly name: string; readonly host: string } {
    return { name: this.name, host: this.host };
  }

  [inspect.custom](): string {
    return `GateCredential(${this.name})`;
  }

  /** Fetched once. A failure is remembered for a moment, so that a tool cannot make the source run without end. */
  #hold(): Promise<Held> {
    if (this.#failedMs !== undefined && this.#now() - this.#failedMs >= FETCH_AGAIN_MS) {
      this.#held = undefined;
      this.#failedMs = undefined;
    }
    this.#held ??= this.#fetch().catch((error: unknown) => {
      this.#failedMs = this.#now();
      throw error;
    });
    return this.#held;
  }

  async #fetch(): Promise<Held> {
    let text: string;
    try {
      text = await this.#source();
    } catch (error) {
      // Whatever else was thrown may quote what it read.
      const { message, remedy } = error instanceof GateError ? error : {};
      const why = message === undefined ? "" : `: ${message}`;
      throw new Refusal(`credential \`${this.name}\` cannot be had${why}`, { remedy });
    }
    const held = holdSecret(this.name, this.#how, text);
    try {
      this.#onSecret(held.masked);
    } catch {
      throw new Refusal(`the secret of credential \`${this.name}\` cannot be masked`);
    }
    this.#secrets = held.masked;
    return held;
  }

  async #add(
    request: OutgoingRequest,
    { secret, keys }: Held,
    swapped: ReadonlySet<number>,
    body: Uint8Array | undefined,
  ): Promise<void> {
    const how = this.#how;
    switch (how.kind) {
      case "bearer":
        return setHeader(request, "authorization", `Bearer ${secret}`, swapped);
      case "basic":
        return setHeader(request, "authorization", `Basic ${basicWord(how.user, secret)}`, swapped);
      case "header":
        return setHeader(request, how.header.toLowerCase(), `${how.prefix ?? ""}${secret}`, swapped);
      case "query":
        return setParameter(request, how.parameter, secret);
      case "placeholder":
        return;
      case "sigv4":
        if (keys === undefined) throw new Refusal(`credential \`${this.name}\` has no keys`);
        if (body === undefined)
          throw new Refusal(`credential \`${this.name}\` signs the body, which is not here`);
        return await this.#sign(request, body, how, keys);
      default:
        return how satisfies never;
    }
  }

  async #sign(
    request: OutgoingRequest,
    body: Uint8Array,
    how: Extract<CredentialKind, { kind: "sigv4" }>,
    keys: NonNullable<Held["keys"]>,
  ): Promise<void> {
    try {
      await signRequest(request, body, how, keys, this.#now());
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal(`a request could not be signed with credential \`${this.name}\``);
    }
  }

  /** A placeholder that went on would tell the host what the tool was given, and the call would fail oddly. */
  #checkLeft({ method, target, headers }: OutgoingRequest): void {
    const lines = [method, target, ...headers.map(([name, value]) => `${name}: ${value}`)];
    try {
      new PlaceholderWatch([this]).see(Buffer.from(lines.join("\n"), "latin1"));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new Refusal(error.message, {
        remedy: "leave it out, or put it where its kind has the secret: docs/egress.md lists the kinds",
      });
    }
  }
}

/** The one header of that name: the gate's, or the tool's own where its placeholder stood. */
function setHeader(
  request: OutgoingRequest,
  name: string,
  value: string,
  swapped: ReadonlySet<number>,
): void {
  const [own] = [...swapped].filter((at) => request.headers[at]?.[0] === name);
  const kept = own === undefined ? ([name, value] as [string, string]) : request.headers[own];
  request.headers = request.headers.filter(([other]) => other !== name);
  if (kept !== undefined) request.headers.push(kept);
}

/** The one parameter of that name. */
function setParameter(request: OutgoingRequest, parameter: string, secret: string): void {
  const { path, pairs } = splitTarget(request.target);
  if (!path.startsWith("/")) throw new Refusal("a target without a path has no place for a credential");
  const name = octetsOf(parameter);
  const others = pairs.filter((pair) => pair.name !== name);
  request.target = joinTarget(path, [...others, newPair(name, octetsOf(secret))]);
}

/** Where a tool may put the placeholder: a secret that stands anywhere else could be made to come back in any form. */
function placesOf(
  how: CredentialKind,
): { readonly headers: readonly string[]; readonly query: boolean } | undefined {
  switch (how.kind) {
    case "bearer":
    case "basic":
      return { headers: ["authorization"], query: false };
    case "header":
      return { headers: ["authorization", how.header.toLowerCase()], query: false };
    case "query":
      return { headers: [], query: true };
    case "sigv4":
    case "placeholder":
      return undefined;
    default:
      return how satisfies never;
  }
}
