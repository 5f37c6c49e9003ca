import type { Socket } from "node:net";

/** RFC 8446 6: those that a gate has a reason to send. */
export const ALERT = {
  /** The network is, for this client, not to be had. */
  accessDenied: 49,
  /** A length or a value in the hello does not fit. */
  decodeError: 50,
  /** The SNI is absent or not what was allowed. */
  unrecognizedName: 112,
} as const;

const RECORD_ALERT = 21;
const LEVEL_FATAL = 2;
/** A client has read the alert and closed long before; one that does not is cut off. */
export const ALERT_LINGER_MS = 1_000;

/**
 * Tells a client that has no keys yet why it is refused, then FIN.
 * Reads on meanwhile: closing with unread bytes would send RST, which may overtake the alert (RFC 1122 4.2.2.13).
 * @returns once the socket is closed
 */
export function sendAlert(socket: Socket, description: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (socket.destroyed) resolve();
  const linger = setTimeout(() => socket.destroy(), ALERT_LINGER_MS);
  socket.once("close", () => {
    clearTimeout(linger);
    resolve();
  });
  socket.on("error", () => {}); // A client that has gone needs no alert.
  socket.on("data", () => {});
  socket.resume();
  socket.end(Buffer.from([RECORD_ALERT, 3, 3, 0, 2, LEVEL_FATAL, description]));
  return promise;
}
