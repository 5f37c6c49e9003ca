import { createPrivateKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { EgressFact, NetworkRule } from "../contract/network.ts";
import { Bounds, type BoundsMax } from "./bounds.ts";
import type { GateCredential } from "./credentials/credential.ts";
import { Refusal, type Visit } from "./visit.ts";

export const NAME = "a.test";

/** Of a server of that name: made for these tests, and trusted by nothing else. */
export const KEY: KeyObject = createPrivateKey({
  key: Buffer.from(
    [
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWiiakkZHDt1nDLRFhzdUom/jQQiS",
      "kIrGRqoA38zvxIWhRANCAAT9rTgyA7RZXd4sxuNr7XcOJxIqlASBYR3Q4b07ahsTXeMLwpBB7pDW",
      "S5ZHwWSkPJQ7GAK1OZDgj36LkO26vZ9f",
    ].join(""),
    "base64",
  ),
  format: "der",
  type: "pkcs8",
});
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBjDCCATKgAwIBAgIUbiS/fvG2DHy+0r0T9h8zSqVVhJ0wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGYS50ZXN0MCAXDTI2MTEyODA1NTI0NVoYDzIxMjYxMTA0MDU1
MjQ1WjARMQ8wDQYDVQQDDAZhLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT9rTgyA7RZXd4sxuNr7XcOJxIqlASBYR3Q4b07ahsTXeMLwpBB7pDWS5ZHwWSk
PJQ7GAK1OZDgj36LkO26vZ9fo2YwZDAdBgNVHQ4EFgQUq2pCYu9Q43FW9rexKdan
/ENaXbwwHwYDVR0jBBgwFoAUq2pCYu9Q43FW9rexKdan/ENaXbwwDwYDVR0TAQH/
BAUwAwEB/zARBgNVHREECjAIggZhLnRlc3QwCgYIKoZIzj0EAwIDSAAwRQIgK+ND
7AuV0eV+NhanaxfxbNXgWh8wF+V9eCuUpBp3CjQCIQC5v+MnjH0XN7ms+8nwp30o
oCHievDp7qN/wx8gCWuMsw==
-----END CERTIFICATE-----
`;

export async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

export interface VisitOptions {
  readonly bounds?: Partial<BoundsMax>;
  readonly credentials?: readonly GateCredential[];
  /** Where the outside is dialled without its buffer, as a dialler may that knows nothing of it. */
  readonly plain?: boolean;
  /** Words of a refusal to dial. */
  readonly undialable?: string;
}

/** A gate's inside door on loopback, with one way out. */
export interface Door extends AsyncDisposable {
  readonly port: number;
  /** Each once its visit is over. */
  readonly facts: EgressFact[];
  readonly dials: () => number;
  /** Of the last visit. */
  readonly inside: () => Socket;
  readonly outside: () => Socket;
  readonly gone: AbortController;
  /** Resolves once as many visits are over. */
  readonly over: (visits?: number) => Promise<void>;
}

export async function openDoor(
  serve: (visit: Visit) => Promise<void>,
  outsidePort: number,
  options: VisitOptions = {},
): Promise<Door> {
  const gone = new AbortController();
  const bounds = new Bounds(options.bounds);
  const rule: NetworkRule = { host: NAME, ports: [443], protocol: "tls" };
  const facts: EgressFact[] = [];
  const visits: Promise<void>[] = [];
  const waiting = new Set<() => void>();
  const sockets: { inside: Socket; outside?: Socket }[] = [];
  let dials = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (inside) => {
    const pair: (typeof sockets)[number] = { inside };
    sockets.push(pair);
    const dial: Visit["dial"] = async (_signal, onread) => {
      dials += 1;
      if (options.undialable !== undefined) throw new Refusal(options.undialable);
      const reads = onread === undefined || options.plain === true ? {} : { onread };
      const outside = connect({ host: "127.0.0.1", port: outsidePort, allowHalfOpen: true, ...reads });
      outside.pause();
      pair.outside = outside;
      await once(outside, "connect");
      return { socket: outside, address: "127.0.0.1" };
    };
    const visit: Visit = {
      socket: inside,
      rule,
      name: NAME,
      port: 443,
      dial,
      report: (fact) => facts.push(fact),
      bounds,
      signal: gone.signal,
      credentials: options.credentials ?? [],
    };
    visits.push(serve(visit));
    for (const wake of waiting) wake();
  });
  const port = await listening(server);
  const last = (): (typeof sockets)[number] => {
    const pair = sockets.at(-1);
    if (pair === undefined) throw new Error("nobody came");
    return pair;
  };
  const over = async (count = 1): Promise<void> => {
    while (visits.length < count) await new Promise<void>((resolve) => waiting.add(resolve));
    await Promise.all(visits);
  };
  return {
    port,
    facts,
    dials: () => dials,
    inside: () => last().inside,
    outside: () => last().outside ?? last().inside,
    gone,
    over,
    async [Symbol.asyncDispose]() {
      gone.abort();
      server.close();
      await Promise.all(visits);
      for (const { inside, outside } of sockets) {
        inside.destroy();
        outside?.destroy();
      }
    },
  };
}

/** All that a socket says until it has closed, and whether it was reset. */
export async function heard(socket: Socket): Promise<{ readonly bytes: Buffer; readonly reset: boolean }> {
  const chunks: Buffer[] = [];
  let reset = false;
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => {
    reset = true;
  });
  socket.resume();
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { bytes: Buffer.concat(chunks), reset };
}
