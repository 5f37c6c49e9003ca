import { TLSSocket } from "node:tls";
import { AlertedRefusal, GONE, readHello } from "../pass-through.ts";
import { Refusal, type Visit } from "../visit.ts";
import type { Authority } from "./authority.ts";

/**
 * Ends TLS at the gate, once the ClientHello asks for the visit's name.
 * @throws Refusal where it may not, or the client does not go on
 */
export async function terminate(visit: Visit, authority: Authority | undefined): Promise<TLSSocket> {
  const { socket, name, bounds, signal } = visit;
  const { bytes } = await readHello(visit);
  if (authority === undefined) throw new AlertedRefusal("no authority was made that opens it", undefined);
  const secureContext = await authority.contextFor(name);
  if (signal.aborted) throw new Refusal(GONE);
  // Node hands what stands in a socket's own buffer to the TLS that is laid over it.
  socket.unshift(bytes);
  const opened = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] });
  opened.on("error", () => {}); // Its end says so.
  await secured(opened, bounds.max.openingMs, signal);
  return opened;
}

/** A client that offers no HTTP/1.1 is told so by TLS (RFC 7301 3.2); one that trusts no such authority tells us. */
async function secured(opened: TLSSocket, openingMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = setTimeout(() => reject(new Refusal(`TLS was not agreed within ${openingMs} ms`)), openingMs);
  const onGone = (): void => reject(new Refusal(GONE));
  const onError = (error: Error & { readonly code?: string }): void =>
    reject(
      new Refusal(
        `TLS was not agreed (${error.code ?? "closed"}); does the client trust the sandbox's authorities?`,
      ),
    );
  const onClose = (): void => onError(new Error("closed"));
  signal.addEventListener("abort", onGone);
  opened.once("secure", resolve).once("error", onError).once("end", onClose).once("close", onClose);
  try {
    await promise;
  } catch (error) {
    opened.destroy();
    throw error;
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", onGone);
    opened.off("error", onError).off("end", onClose).off("close", onClose);
  }
}
