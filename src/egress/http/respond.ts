import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a tool that is refused may go on sending before it is cut off: it might not see the answer else. */
export const REFUSED_LINGER_MS = 1_000;

/** Answers in the gate's own words, and closes. */
export async function respond(
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  status: number,
  words: string,
): Promise<void> {
  const body = Buffer.from(`callgate: ${words}\n`);
  const headers = {
    "content-type": "text/plain; charset=utf-8",
    "content-length": body.length,
    connection: "close",
  };
  // With its phrase: one that the origin sent may be left in there.
  response.writeHead(status, STATUS_CODES[status] ?? "", headers);
  const isRead = request.complete;
  if (request.method !== "HEAD") response.write(body);
  // What stands unread when it is closed makes the kernel send RST, which may overtake the answer.
  if (!isRead && !request.destroyed) {
    const bound = new AbortController();
    request.resume();
    const ended = once(request, "end", { signal: bound.signal }).catch(() => {});
    const gone = once(response, "close", { signal: bound.signal }).catch(() => {});
    await Promise.race([
      ended,
      gone,
      sleep(REFUSED_LINGER_MS, undefined, { signal: bound.signal }).catch(() => {}),
    ]);
    bound.abort();
  }
  if (response.destroyed) return;
  const finished = Promise.race([once(response, "finish"), once(response, "close")]).catch(() => {});
  response.end();
  await finished;
}
