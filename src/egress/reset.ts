import type { Socket } from "node:net";

/**
 * Breaks a connection off with RST. While FIN is on its way libuv refuses that, and Node then leaves the socket open
 * and never says 'close': so once it has gone.
 */
export function reset(socket: Socket): void {
  const isShutting = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (isShutting && !socket.destroyed) socket.once("finish", () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}
