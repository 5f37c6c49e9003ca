import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import { AlertedRefusal, factOf, GONE, turnAway, whyOf } from "../pass-through.ts";
import { reset } from "../reset.ts";
import { Refusal, type Visit } from "../visit.ts";
import type { Authority } from "./authority.ts";
import { HttpSession } from "./http-session.ts";
import { terminate } from "./terminate.ts";
import { Upstream } from "./upstream.ts";

export interface Opening {
  /** Undefined where no rule opens TLS. */
  readonly authority: Authority | undefined;
  /** Whom the gate trusts outside, see `outsideTrust`. */
  readonly outside: () => SecureContext;
}

/**
 * Opens a connection at the gate, and judges each request in it. Nothing goes out before the first that is allowed.
 * @throws what is not a Refusal, after it is reported
 */
export async function openConnection(visit: Visit, opening: Opening): Promise<void> {
  const startedMs = Date.now();
  const { socket, rule, signal } = visit;
  socket.on("error", () => {}); // Whoever reads or writes it sees its end.
  let connection: Socket;
  try {
    if (signal.aborted) throw new Refusal(GONE);
    connection = rule.protocol === "http" ? socket : await terminate(visit, opening.authority);
  } catch (error) {
    visit.report({ ...factOf(visit, startedMs), verdict: "refused", why: whyOf(error, signal) });
    await turnAway(visit, error instanceof AlertedRefusal ? error.alert : undefined);
    if (error instanceof Refusal) return;
    throw error;
  }
  const upstream = new Upstream(visit, opening.outside);
  const why = await new HttpSession(visit, upstream, connection).run();
  const { address } = upstream;
  visit.report({
    ...factOf(visit, startedMs),
    verdict: why === undefined ? "allowed" : "refused",
    ...(why !== undefined ? { why } : signal.aborted ? { why: GONE } : {}),
    ...(address === undefined ? {} : { address }),
    ...{ bytesSent: connection.bytesRead, bytesReceived: connection.bytesWritten },
  });
  if (!socket.destroyed) reset(socket);
}
