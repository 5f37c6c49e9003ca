import type { RemoteInfo } from "node:dgram";
import type { EventEmitter } from "node:events";
import type { Server, Socket } from "node:net";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { SecureContext } from "node:tls";
import { GateError } from "../contract/errors.ts";
import type { EgressFact, NetworkRule } from "../contract/network.ts";
import { AheadResolver } from "./ahead-resolver.ts";
import { type Attempts, readAttempts } from "./attempts.ts";
import { Bounds, type BoundsMax } from "./bounds.ts";
import type { GateCredential } from "./credentials/credential.ts";
import { dial } from "./dial.ts";
import { type GuardedNamespace, RESOLVER_ADDRESS } from "./guard.ts";
import type { Authority } from "./http/authority.ts";
import { answer, type NameTable } from "./names.ts";
import { passTcp, passThrough } from "./pass-through.ts";
import { reset } from "./reset.ts";
import type { Resolver } from "./resolver.ts";
import type { TrustFiles } from "./trust-files.ts";
import { Refusal, remedyIn, type Visit } from "./visit.ts";

/** How long what a tool sent just before it ended may take to get out. */
const DRAIN_MS_MAX = 500;

export interface NetworkParts {
  readonly space: GuardedNamespace;
  /** Takes the namespace back, once nothing is in it any more: another sandbox may have it. */
  readonly giveBack: (space: GuardedNamespace) => Promise<void>;
  readonly table: NameTable;
  readonly resolver: Resolver;
  readonly credentials: readonly GateCredential[];
  /** In place of `BOUNDS`. */
  readonly bounds?: Partial<BoundsMax>;
  /** Unset: tools trust what the system trusts. */
  readonly trust: TrustFiles | undefined;
  readonly opening: {
    /** Present where a rule opens TLS. */
    readonly authority: Authority | undefined;
    readonly outside: () => SecureContext;
  };
}

/** The network of one sandbox: answers its names, judges and carries its connections, and tells what happened. */
export class SandboxNetwork implements AsyncDisposable {
  readonly #parts: NetworkParts;
  readonly #resolver: AheadResolver;
  readonly #bounds: Bounds;
  readonly #gone = new AbortController();
  readonly #visits = new Set<Promise<void>>();
  /** What came before somebody listened. */
  readonly #early: EgressFact[] = [];
  readonly #listening: (() => void)[] = [];
  /** What the kernel had counted before this sandbox. */
  readonly #attempts: Attempts;
  #report: ((fact: EgressFact) => void) | undefined;
  /** Connections that came and names that were asked for. */
  #arrivals = 0;
  /** Every process inside is gone, and all that they left has come. */
  #isOver = false;
  #isLeft = false;

  constructor(parts: NetworkParts) {
    this.#parts = parts;
    this.#bounds = new Bounds(parts.bounds);
    const { space, resolver } = parts;
    this.#resolver = new AheadResolver(resolver);
    this.#attempts = readAttempts(space);
    for (const [at, server] of space.servers) this.#serve(server, at);
    this.#on(space.dns, "error", () => {}); // a reply that nobody waits for
    this.#on(space.dns, "message", (query: Buffer, { address, port }: RemoteInfo) => {
      this.#arrivals += 1;
      const reply = this.#answer(query);
      if (reply !== undefined) space.dns.send(reply, port, address, () => {});
    });
  }

  /** False once its namespace is lost. */
  get alive(): boolean {
    return this.#parts.space.alive;
  }

  /** What a driver needs to put a sandbox in. */
  get joined(): {
    readonly userNamespace: string;
    readonly netNamespace: string;
    readonly identity: string;
    readonly resolver: string;
    readonly listeners: readonly string[];
    readonly environment: Readonly<Record<string, string>>;
    readonly authorities?: string;
    readonly javaAuthorities?: string;
  } {
    const { space, credentials, trust } = this.#parts;
    const variables = credentials.map((credential) => credential.variables);
    return {
      userNamespace: space.userNamespace,
      netNamespace: space.netNamespace,
      identity: space.identity,
      resolver: RESOLVER_ADDRESS,
      listeners: [...space.servers.keys()],
      // Where authorities are found is no credential's to say.
      environment: Object.assign({}, ...variables, trust?.environment),
      ...(trust === undefined ? {} : { authorities: trust.bundle }),
      ...(trust?.java === undefined ? {} : { javaAuthorities: trust.java }),
    };
  }

  /** Tells what has happened so far, and everything from now on. */
  follow(report: (fact: EgressFact) => void): void {
    this.#report = report;
    for (const fact of this.#early.splice(0)) report(fact);
  }

  /** Once nothing is inside any more: lets what is on its way get out, within a bound, and ends the rest. */
  async drain(): Promise<void> {
    await this.#arrived();
    this.#isOver = true;
    if (this.#visits.size > 0) {
      const bound = new AbortController();
      await Promise.race([
        Promise.all(this.#visits),
        sleep(DRAIN_MS_MAX, undefined, { signal: bound.signal }).catch(() => {}),
      ]);
      bound.abort();
    }
    this.#gone.abort();
    await Promise.all(this.#visits);
    this.#tellAttempts(readAttempts(this.#parts.space));
  }

  /** Its sandbox is gone, every process of it: the namespace may serve another one. */
  async leave(): Promise<void> {
    await this.#end();
    this.#isLeft = true;
    await this.#parts.giveBack(this.#parts.space);
  }

  /** Ends the namespace too, where it was not left. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isLeft) return;
    await this.#end();
    await this.#parts.space[Symbol.asyncDispose]();
  }

  async #end(): Promise<void> {
    this.#gone.abort();
    await Promise.all(this.#visits);
    for (const stop of this.#listening.splice(0)) stop();
  }

  /** What was in the kernel's queues, of which Node takes a little in each turn, has come. */
  async #arrived(): Promise<void> {
    const untilMs = performance.now() + DRAIN_MS_MAX;
    for (let before = -1; before !== this.#arrivals && performance.now() < untilMs; ) {
      before = this.#arrivals;
      // The first ends this turn, and the next turn's events are before the second.
      await turn();
      await turn();
    }
  }

  #answer(query: Buffer): Uint8Array | undefined {
    const { table, space } = this.#parts;
    try {
      this.#bounds.ask();
    } catch (error) {
      // Its socket goes, so that a flood costs the kernel something and the gate nothing.
      space.dns.close();
      this.#tell(refusedName("", whyOf(error)));
      return undefined;
    }
    return answer(query, table, {
      onRefused: (name, why) => this.#tell(refusedName(name, why)),
      onAllowed: (name) => this.#resolver.ahead(name, this.#gone.signal),
    });
  }

  #tellAttempts({ unroutable, unheard }: Attempts): void {
    const [roads, ports] = [unroutable - this.#attempts.unroutable, unheard - this.#attempts.unheard];
    if (roads > 0) this.#tell(refusedAttempts(`${times(roads)} at an address that no rule reaches`));
    if (ports > 0)
      this.#tell(
        refusedAttempts(`${times(ports)} at a port where nobody listens, of a host or of its own loopback`),
      );
  }

  /** As long as this network is: its sockets may serve another one after it. */
  #on<A extends unknown[]>(emitter: EventEmitter, event: string, listener: (...values: A) => void): void {
    emitter.on(event, listener as never);
    this.#listening.push(() => void emitter.off(event, listener as never));
  }

  #serve(server: Server, at: string): void {
    const [address = "", port] = at.split(":");
    this.#on(server, "connection", (socket: Socket) => {
      this.#arrivals += 1;
      this.#bounds.arrive();
      // Nobody is inside who would read an answer.
      if (this.#isOver) return void socket.destroy();
      const visit = this.#receive(socket, address, Number(port)).finally(() => {
        socket.destroy();
        this.#visits.delete(visit);
      });
      this.#visits.add(visit);
    });
  }

  /** INVARIANT: never rejects, and reports one fact of kind `connection`. */
  async #receive(socket: Socket, address: string, port: number): Promise<void> {
    const startedMs = Date.now();
    socket.on("error", () => {}); // its end says so
    const asked = this.#parts.table.ruleFor(address, port);
    const name = asked?.name ?? address;
    let reported = false;
    const report = (fact: EgressFact): void => {
      reported ||= fact.kind === "connection";
      this.#tell(fact);
    };
    let leave: (() => void) | undefined;
    try {
      const rule = asked?.rule;
      if (rule === undefined)
        throw new Refusal(asked === undefined ? "no rule allows it" : "a learning run lets nothing pass");
      leave = this.#bounds.enter();
      await this.#carry(this.#visit(socket, rule, { name, port, report }));
      if (!reported) throw new Error("a connection ended without a word");
    } catch (error) {
      if (this.#bounds.isSpent) for (const server of this.#parts.space.servers.values()) server.close();
      reset(socket);
      if (!reported)
        report({ ...refusedConnection({ name, port, startedMs }, whyOf(error)), ...remedyIn(error) });
    } finally {
      leave?.();
    }
  }

  #visit(
    socket: Socket,
    rule: NetworkRule,
    { name, port, report }: Pick<Visit, "name" | "port" | "report">,
  ): Visit {
    const { credentials } = this.#parts;
    const { connectMs } = this.#bounds.max;
    const credential = credentials.find((one) => one.name === rule.credential);
    // It was to be added: without it the request would be another one.
    if (rule.credential !== undefined && credential === undefined)
      throw new Refusal(`the credential \`${rule.credential}\` is not there`);
    return {
      socket,
      rule,
      name,
      port,
      dial: (signal, onread) =>
        dial({ name, port, rule, resolver: this.#resolver, signal, onread, connectMs }),
      report,
      bounds: this.#bounds,
      signal: this.#gone.signal,
      ...(credential === undefined ? {} : { credential }),
      credentials,
    };
  }

  async #carry(visit: Visit): Promise<void> {
    const { protocol, http, credential } = visit.rule;
    if (protocol === "tcp") return await passTcp(visit);
    if (protocol === "tls" && http === undefined && credential === undefined) return await passThrough(visit);
    const { openConnection } = await import("./http/open-connection.ts");
    await openConnection(visit, this.#parts.opening);
  }

  #tell(fact: EgressFact): void {
    if (this.#report === undefined) this.#early.push(fact);
    else this.#report(fact);
  }
}

function whyOf(error: unknown): string {
  if (error instanceof Refusal || error instanceof GateError) return error.message;
  // Words of a library may hold what it was given.
  return "a fault of the gate";
}

function refusedName(name: string, why: string): EgressFact {
  return {
    ...{ verdict: "refused", kind: "dns", name, port: null, why },
    ...{ startedMs: Date.now(), durationMs: 0, bytesSent: 0, bytesReceived: 0 },
  };
}

function refusedAttempts(why: string): EgressFact {
  return {
    ...{ verdict: "refused", kind: "attempts", name: "", port: null, why },
    ...{ startedMs: Date.now(), durationMs: 0, bytesSent: 0, bytesReceived: 0 },
  };
}

function times(count: number): string {
  return `${count} ${count === 1 ? "attempt" : "attempts"}`;
}

function refusedConnection(
  { name, port, startedMs }: { readonly name: string; readonly port: number; readonly startedMs: number },
  why: string,
): EgressFact {
  return {
    ...{ verdict: "refused", kind: "connection", name, port, why },
    ...{ startedMs, durationMs: Date.now() - startedMs, bytesSent: 0, bytesReceived: 0 },
  };
}
