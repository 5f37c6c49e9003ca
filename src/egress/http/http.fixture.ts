import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import * as tls from "node:tls";
import type { EgressFact, NetworkRule } from "../../contract/network.ts";
import { Bounds, type BoundsMax } from "../bounds.ts";
import type { GateCredential } from "../credentials/credential.ts";
import { Refusal, type Visit } from "../visit.ts";
import { Authority } from "./authority.ts";
import { openConnection } from "./open-connection.ts";
import { outsideTrust } from "./upstream.ts";

export const NAME = "api.test";

/** Of the gate, of the origin, and of nobody that either trusts. */
export const own: Authority = await Authority.create();
export const outside: Authority = await Authority.create();
export const stranger: Authority = await Authority.create();

export interface HttpDoorOptions {
  readonly rule?: Partial<NetworkRule>;
  readonly bounds?: Partial<BoundsMax>;
  readonly credential?: GateCredential;
  readonly credentials?: readonly GateCredential[];
  readonly undialable?: string;
  /** The origin shows a certificate of nobody that is trusted, or of another name. */
  readonly origin?: { readonly authority?: Authority; readonly name?: string };
}

export interface HttpDoor extends AsyncDisposable {
  readonly port: number;
  readonly facts: EgressFact[];
  readonly dials: () => number;
  readonly gone: AbortController;
  /** Resolves once as many visits are over. */
  readonly over: (visits?: number) => Promise<void>;
  readonly requests: () => (EgressFact["request"] & { readonly verdict: string; readonly why?: string })[];
  /** A connection as a tool makes it, past TLS where there is any. */
  readonly enter: () => Promise<Socket>;
}

/** A gate's inside door on loopback, behind which `serve` is the origin: it gets connections without their TLS. */
export async function openHttpDoor(
  serve: (socket: Socket) => void,
  options: HttpDoorOptions = {},
): Promise<HttpDoor> {
  const rule: NetworkRule = { host: NAME, ports: [443], protocol: "tls", ...options.rule };
  const port = rule.protocol === "http" ? 80 : 443;
  const isClear = rule.protocol === "http";
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket.on("error", () => {}).once("close", () => sockets.delete(socket)));
  };
  const secureContext = await (options.origin?.authority ?? outside).contextFor(options.origin?.name ?? NAME);
  const origin = createServer({ allowHalfOpen: true }, (socket) => {
    keep(socket);
    if (isClear) return serve(socket);
    const opened = new tls.TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] });
    opened.on("error", () => {});
    opened.once("secure", () => serve(opened));
  });
  const originPort = await listening(origin);
  const gone = new AbortController();
  const facts: EgressFact[] = [];
  const visits: Promise<void>[] = [];
  let dials = 0;
  let wake = Promise.withResolvers<void>();
  const bounds = new Bounds(options.bounds);
  const door = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    keep(socket);
    const dial: Visit["dial"] = async () => {
      dials += 1;
      if (options.undialable !== undefined) throw new Refusal(options.undialable);
      const out = connect({ host: "127.0.0.1", port: originPort, allowHalfOpen: true });
      out.pause();
      await once(out, "connect");
      keep(out);
      return { socket: out, address: "127.0.0.1" };
    };
    const { credential, credentials = [] } = options;
    const visit: Visit = {
      ...{ socket, rule, name: NAME, port, dial, bounds, signal: gone.signal },
      report: (fact) => facts.push(fact),
      ...(credential === undefined ? {} : { credential }),
      credentials: [...credentials, ...(credential === undefined ? [] : [credential])],
    };
    visits.push(
      openConnection(visit, { authority: own, outside: outsideTrust([outside.pem]) }).finally(() =>
        socket.destroy(),
      ),
    );
    wake.resolve();
    wake = Promise.withResolvers();
  });
  const doorPort = await listening(door);
  return {
    port: doorPort,
    facts,
    dials: () => dials,
    gone,
    over: async (count = 1) => {
      while (visits.length < count) await wake.promise;
      await Promise.all(visits);
    },
    requests: () =>
      facts.flatMap(({ kind, request, verdict, why }) =>
        kind !== "request" || request === undefined
          ? []
          : [{ ...request, verdict, ...(why === undefined ? {} : { why }) }],
      ),
    enter: async () => {
      const socket = connect({ host: "127.0.0.1", port: doorPort });
      keep(socket);
      await once(socket, "connect");
      if (isClear) return socket;
      const opened = tls.connect({ socket, servername: NAME, ca: own.pem, ALPNProtocols: ["http/1.1"] });
      opened.on("error", () => {});
      await once(opened, "secureConnect");
      return opened;
    },
    async [Symbol.asyncDispose]() {
      gone.abort();
      door.close();
      origin.close();
      await Promise.all(visits);
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** All that a socket says until it is closed. */
export async function heard(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk)).on("error", () => {});
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return Buffer.concat(chunks).toString("latin1");
}
