import type { IncomingMessage } from "node:http";
import type { OutgoingRequest } from "../credentials/credential.ts";
import { Refusal, type Visit } from "../visit.ts";
import { type Forward, hostOf } from "./judge-request.ts";
import { newWatch } from "./placeholder-head.ts";

/** Of a body that has to be known before its head is sent, since it is signed. */
export const SIGNED_BODY_BYTES_MAX: number = 16 * 1024 * 1024;

/** Methods whose requests have no body unless they say so (RFC 9110 8.6). */
const BODILESS: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

/** Bytes of one request. */
export interface Tally {
  sent: number;
  received: number;
}

/** Counts for the request and for the sandbox. @throws Refusal where a bound is met */
export function countSent(visit: Visit, tally: Tally, bytes: number): void {
  tally.sent += bytes;
  visit.bounds.send(bytes);
}

/** Counts for the request and for the sandbox. @throws Refusal where a bound is met */
export function countReceived(visit: Visit, tally: Tally, bytes: number): void {
  tally.received += bytes;
  visit.bounds.receive(bytes);
}

/** What is sent in place of what was judged: with the credential, and with its body's length where that is known. */
export async function outgoing(
  visit: Visit,
  forward: Forward,
  body: Buffer | undefined,
): Promise<OutgoingRequest> {
  const { credential } = visit;
  const { method, target } = forward;
  let headers = forward.headers;
  if (body !== undefined) {
    headers = without(headers, "expect", "transfer-encoding", "content-length");
    if (body.length > 0 || !BODILESS.has(method)) headers.push(["content-length", `${body.length}`]);
  } else if (!BODILESS.has(method) && !hasBody(headers)) {
    headers = [...headers, ["content-length", "0"]];
  }
  if (credential?.masksResponses === true)
    // Whole and plain, so that it can be searched.
    headers = [...without(headers, "accept-encoding", "range", "if-range"), ["accept-encoding", "identity"]];
  const request: OutgoingRequest = { method, target, headers: [...headers], host: hostOf(visit) };
  await credential?.attach(request, body);
  return request;
}

function hasBody(headers: Forward["headers"]): boolean {
  return headers.some(([name]) => name === "content-length" || name === "transfer-encoding");
}

function without(headers: Forward["headers"], ...names: readonly string[]): [string, string][] {
  return headers.filter(([name]) => !names.includes(name));
}

/** The body's pieces as they come, counted and watched. @throws Refusal */
export async function* bodyOf(visit: Visit, request: IncomingMessage, tally: Tally): AsyncGenerator<Buffer> {
  const watch = newWatch(visit);
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    countSent(visit, tally, chunk.length);
    watch.see(chunk);
    yield chunk;
  }
}

/** Held in `bounds` until the caller lets it go. @throws Refusal where it is longer than a body that is signed may be */
export async function wholeBody(visit: Visit, request: IncomingMessage, tally: Tally): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of bodyOf(visit, request, tally)) {
      visit.bounds.hold(chunk.length);
      bytes += chunk.length;
      if (bytes > SIGNED_BODY_BYTES_MAX)
        throw new Refusal(`a body that is signed is longer than ${SIGNED_BODY_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    visit.bounds.letGo(bytes);
    throw error;
  }
  return Buffer.concat(chunks);
}
