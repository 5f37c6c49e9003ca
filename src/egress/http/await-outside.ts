import type { ClientRequest, IncomingMessage } from "node:http";
import type { Writable } from "node:stream";
import { UpstreamFailure } from "./upstream.ts";

/** @throws UpstreamFailure */
export function answerTo(outside: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  outside.on("response", resolve);
  outside.on("error", (error: Error & { readonly code?: string }) =>
    reject(error instanceof UpstreamFailure ? error : new UpstreamFailure(error.code ?? "it broke off")),
  );
  outside.on("close", () => reject(new UpstreamFailure("it closed without an answer")));
  return promise;
}

/** Writes, and waits until more may be. @throws UpstreamFailure where the other end has gone */
export async function written(to: Writable, chunk: Buffer): Promise<void> {
  if (to.destroyed) throw new UpstreamFailure("it closed before all was sent");
  if (to.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      to.off("drain", done).off("close", done);
      resolve();
    };
    to.on("drain", done).on("close", done);
  });
}
