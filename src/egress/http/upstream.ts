import { Agent } from "node:http";
import type { Socket } from "node:net";
import { connect, createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { isHostName } from "../host-name.ts";
import { Refusal, remedyIn, type Visit } from "../visit.ts";

/** The outside could not be had: the tool is told 502. */
export class UpstreamFailure extends Refusal {}

/** Node's authorities, the system's and further ones. Made once: reading them takes tens of milliseconds. */
export function outsideTrust(authorities: readonly string[]): () => SecureContext {
  let context: SecureContext | undefined;
  return () => {
    context ??= createSecureContext({
      ca: [...getCACertificates("bundled"), ...getCACertificates("system"), ...authorities],
      minVersion: "TLSv1.2",
    });
    return context;
  };
}

/** The way out of one connection: one connection at a time, kept for its next request. */
export class Upstream {
  readonly agent: Agent;
  readonly #visit: Visit;
  readonly #trust: () => SecureContext;
  readonly #ended = new AbortController();
  #socket: Socket | undefined;
  #address: string | undefined;
  /** Of connections that were there before. */
  #moved = 0;

  /** @param trust whom it trusts, see `outsideTrust` */
  constructor(visit: Visit, trust: () => SecureContext) {
    this.#visit = visit;
    this.#trust = trust;
    this.agent = new Agent({ keepAlive: true, maxSockets: 1, maxTotalSockets: 1, maxFreeSockets: 1 });
    this.agent.createConnection = (_options, callback) => {
      this.#connect().then(
        (socket) => callback?.(null, socket),
        (error: unknown) => callback?.(error as Error, undefined as never),
      );
      return undefined;
    };
  }

  /** The real address of the last connection. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Bytes both ways, ever. */
  get moved(): number {
    return (
      this.#moved + (this.#socket === undefined ? 0 : this.#socket.bytesRead + this.#socket.bytesWritten)
    );
  }

  close(): void {
    this.#ended.abort();
    this.agent.destroy();
    this.#socket?.destroy();
  }

  /** @throws UpstreamFailure */
  async #connect(): Promise<Socket> {
    const { visit, signal } = {
      visit: this.#visit,
      signal: AbortSignal.any([this.#visit.signal, this.#ended.signal]),
    };
    const dialed = await visit.dial(signal).catch((error: unknown) => {
      throw new UpstreamFailure(
        error instanceof Refusal ? error.message : "it could not be dialled",
        remedyIn(error),
      );
    });
    dialed.socket.on("error", () => {}); // Who uses it sees its end.
    this.#moved = this.moved;
    this.#address = dialed.address;
    this.#socket = dialed.socket;
    if (signal.aborted) {
      dialed.socket.destroy();
      throw new UpstreamFailure("it was given up");
    }
    if (visit.rule.protocol === "http") return dialed.socket.resume();
    const secure = await this.#secure(dialed.socket);
    this.#socket = secure;
    return secure;
  }

  #secure(socket: Socket): Promise<Socket> {
    const { name, bounds } = this.#visit;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const { connectMs } = bounds.max;
    const secure = connect({
      socket,
      ...(isHostName(name) ? { servername: name } : {}),
      host: name,
      secureContext: this.#trust(),
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: true,
    });
    const late = setTimeout(() => secure.destroy(new Error("late")), connectMs);
    const fail = (error?: Error & { readonly code?: string }): void => {
      clearTimeout(late);
      reject(new UpstreamFailure(`TLS with it failed (${error?.code ?? "closed"})`));
      socket.destroy();
    };
    secure.on("error", fail).once("close", () => fail());
    secure.once("secureConnect", () => {
      clearTimeout(late);
      resolve(secure);
    });
    return promise;
  }
}
