import type { EgressFact } from "../contract/network.ts";
import { type ClientHello, ClientHelloParser, type RefusedHello } from "./client-hello.ts";
import { PlaceholderWatch } from "./placeholder-watch.ts";
import { type RelayOptions, relay } from "./relay.ts";
import { reset } from "./reset.ts";
import { SecondHello } from "./second-hello.ts";
import { StaticReads } from "./static-reads.ts";
import { ALERT, sendAlert } from "./tls-alert.ts";
import { type Dialed, Refusal, remedyIn, type Visit } from "./visit.ts";

export const GONE = "the sandbox was gone";
const NOTHING: Buffer = Buffer.alloc(0);

/** Of a client that speaks TLS, which an alert can tell. */
export class AlertedRefusal extends Refusal {
  readonly alert: number | undefined;

  constructor(why: string, alert: number | undefined) {
    super(why);
    this.alert = alert;
  }
}

/** What was read before the outside may be dialled, and how the rest is watched. */
type Opening = Pick<RelayOptions, "head" | "inspect" | "overhear">;

/**
 * Passes a TLS connection on, end to end, once its ClientHello asks for the name it was made to.
 * Nothing goes out before that but the question for the name's address, which was asked when the tool asked for it.
 * @throws what is not a Refusal, after it is reported
 */
export async function passThrough(visit: Visit): Promise<void> {
  const open = async (): Promise<Opening> => {
    const { bytes, length } = await readHello(visit);
    const second = new SecondHello(length, (hello) => whyNot(hello, visit.name));
    return { head: bytes, inspect: (chunk) => second.see(chunk), overhear: (chunk) => second.hear(chunk) };
  };
  await carry(visit, open, ALERT.accessDenied);
}

/** Passes whatever it is on, but for placeholders of credentials. @throws what is not a Refusal, after it is reported */
export async function passTcp(visit: Visit): Promise<void> {
  const watch = new PlaceholderWatch(visit.credentials);
  await carry(visit, async () => ({ head: NOTHING, inspect: (chunk) => watch.see(chunk) }));
}

/** @param undialed alert for a client whose host is not to be had; unset: it is reset. */
async function carry(visit: Visit, open: () => Promise<Opening>, undialed?: number): Promise<void> {
  const startedMs = Date.now();
  const { socket, bounds, signal } = visit;
  socket.on("error", () => {}); // Whoever reads or writes it sees its end.
  const reads = new StaticReads();
  let opening: Opening;
  let dialed: Dialed;
  try {
    if (signal.aborted) throw new Refusal(GONE);
    opening = await open();
    dialed = await visit.dial(signal, reads.onread);
  } catch (error) {
    const why = whyOf(error, signal);
    visit.report({ ...factOf(visit, startedMs), verdict: "refused", why, ...remedyIn(error) });
    await turnAway(visit, error instanceof AlertedRefusal ? error.alert : undialed);
    if (error instanceof Refusal) return;
    throw error;
  }
  const { end, why, remedy, sent, received } = await relay(socket, dialed.socket, {
    ...opening,
    bounds,
    idleMs: bounds.max.idleMs,
    signal,
    reads,
  });
  visit.report({
    ...factOf(visit, startedMs),
    verdict: why === undefined ? "allowed" : "refused",
    ...(why !== undefined ? { why } : end === "gone" ? { why: GONE } : {}),
    ...(remedy === undefined ? {} : { remedy }),
    address: dialed.address,
    bytesSent: sent,
    bytesReceived: received,
  });
}

/**
 * @returns all that was read: the hello, which is the first `length` bytes, and what came with it.
 * @throws Refusal where it may not pass
 */
export async function readHello({
  socket,
  name,
  bounds,
  signal,
}: Visit): Promise<{ readonly bytes: Buffer; readonly length: number }> {
  const parser = new ClientHelloParser();
  const chunks: Buffer[] = [];
  const { openingMs } = bounds.max;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const refuse = (why: string) => (): void => reject(new AlertedRefusal(why, undefined));
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    const parsed = parser.push(chunk);
    if (parsed.state === "more") return;
    socket.pause();
    const refusal = parsed.state === "refused" ? parsed : whyNot(parsed, name);
    if (refusal !== undefined) reject(new AlertedRefusal(refusal.why, refusal.alert));
    else if (parsed.state === "hello") resolve(parsed.length);
  };
  const onEnd = refuse("it was closed before a whole ClientHello had come");
  const onGone = refuse(GONE);
  const late = setTimeout(refuse(`no whole ClientHello came within ${openingMs} ms`), openingMs);
  socket.on("data", onData).on("end", onEnd).on("close", onEnd).resume();
  signal.addEventListener("abort", onGone);
  try {
    const length = await promise;
    return { bytes: Buffer.concat(chunks), length };
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", onGone);
    socket.pause().off("data", onData).off("end", onEnd).off("close", onEnd);
  }
}

function whyNot(hello: ClientHello, name: string): Omit<RefusedHello, "state"> | undefined {
  // The keys to the hello inside come over DNS, where the gate gives none; a tool may have brought some. The name in
  // there may be any other of the same provider. What browsers send without keys looks the same (RFC 9849 6.2).
  if (hello.encrypted)
    return {
      why: "the ClientHello holds an encrypted one (ECH), which may name another host: switch ECH off in the client",
      alert: ALERT.accessDenied,
    };
  if (hello.serverName === name) return undefined;
  const named = hello.serverName === undefined ? "no host (SNI)" : `\`${hello.serverName}\``;
  return { why: `the ClientHello names ${named}, not \`${name}\``, alert: ALERT.unrecognizedName };
}

export function whyOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return GONE;
  // Words of a library may hold what it was given.
  return error instanceof Refusal ? error.message : "a fault of the gate";
}

export function factOf({ name, port }: Visit, startedMs: number): Omit<EgressFact, "verdict"> {
  const durationMs = Date.now() - startedMs;
  return { kind: "connection", name, port, startedMs, durationMs, bytesSent: 0, bytesReceived: 0 };
}

/** An alert where there is one for it, else a reset. */
export async function turnAway({ socket, signal }: Visit, alert: number | undefined): Promise<void> {
  const cut = (): void => reset(socket);
  if (alert === undefined || signal.aborted) return cut();
  signal.addEventListener("abort", cut);
  await sendAlert(socket, alert);
  signal.removeEventListener("abort", cut);
}
