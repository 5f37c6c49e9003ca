import { connect, isIP, isIPv6, type OnReadOpts, type Socket, SocketAddress } from "node:net";
import { networkInterfaces } from "node:os";
import type { NetworkRule } from "../contract/network.ts";
import type { Resolver } from "./resolver.ts";
import { mayReach, translatedAddress, whyNotPublic } from "./special-addresses.ts";
import { type Dialed, Refusal } from "./visit.ts";

/** RFC 8305 section 5: how long an attempt has before the next is made beside it. */
const ATTEMPT_DELAY_MS = 250;
/** Of one name that are tried: nobody waits for more, and an answer may hold thousands. */
export const ADDRESSES_TRIED_MAX = 16;

const OWN = "an address of this host";

export interface DialOptions {
  /** Lower case; an address where the rule names one. */
  readonly name: string;
  readonly port: number;
  readonly rule: Pick<NetworkRule, "allowPrivate">;
  readonly resolver: Resolver;
  readonly signal: AbortSignal;
  /** For all attempts together. */
  readonly connectMs: number;
  /** For `net.connect`. Attempts may share it: all are paused, and only the one handed over is ever read. */
  readonly onread?: OnReadOpts | undefined;
  /** In place of `net.connect`, which is given an address and so looks nothing up. */
  readonly open?: typeof openSocket;
}

/**
 * Resolves the name once, checks what it stands for, and connects to an address that was checked: a name that changes
 * its mind in between (rebinding) is not asked again.
 * @throws Refusal
 */
export async function dial(options: DialOptions): Promise<Dialed> {
  const { name, rule, resolver, signal } = options;
  const addresses = isIP(name) === 0 ? await resolver.resolve(name, signal) : [name];
  const direct = addresses.filter((address) => !isTranslated(address, addresses));
  check(options, direct);
  const tried = interleave([...new Set(direct.map(asWritten))]).slice(0, ADDRESSES_TRIED_MAX);
  const { socket, from, address } = await connectFirst(tried, options);
  if (address === undefined) {
    socket.destroy();
    throw new Refusal(`${name} broke the connection off at once`);
  }
  if (!tried.includes(address)) {
    socket.destroy();
    throw new Refusal(`${name} was connected to another address than the one that was checked`);
  }
  // What is routed to this host without being an interface's: the kernel answers from the address that was asked.
  if (rule.allowPrivate !== true && from === address) {
    socket.destroy();
    throw new Refusal(`${name} stands for ${address}, which is ${OWN}`, { remedy: privately(options) });
  }
  return { socket, address };
}

/**
 * All must pass. One that may not be reached among others that may is how a name leads inside on the second try, and
 * no honest public name has it; whoever needs it says `allowPrivate`.
 */
function check(options: DialOptions, addresses: readonly string[]): void {
  const { name } = options;
  const allowPrivate = options.rule.allowPrivate === true;
  if (addresses.length === 0) throw new Refusal(`${name} has no address`);
  const own = allowPrivate ? new Set<string>() : ownAddresses();
  for (const address of addresses) {
    if (mayReach(address, allowPrivate) && !own.has(asWritten(address))) continue;
    const why = `${address}, which is ${whyNotPublic(address) ?? OWN}`;
    const remedy = mayReach(address, true) ? privately(options) : undefined;
    throw new Refusal(name === address ? `a rule may not lead to ${why}` : `${name} stands for ${why}`, {
      remedy,
    });
  }
}

/** As `callgate exec` and a manifest say it. */
function privately({ name }: DialOptions): string {
  return `where that is meant, add \`,private\` to the \`--net\` of ${name}, or \`allowPrivate: true\` to its rule`;
}

/** Of this host's interfaces, public ones too: its services are as near as those on loopback. Asked anew, they change. */
function ownAddresses(): ReadonlySet<string> {
  const interfaces = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  return new Set(interfaces.map(({ address }) => asWritten(address)));
}

/** What a DNS64 adds (RFC 6147) stands for an address that is in the same answer. */
function isTranslated(address: string, addresses: readonly string[]): boolean {
  const inner = translatedAddress(address);
  return inner !== undefined && addresses.includes(inner);
}

/** As a socket writes where it is connected to. */
function asWritten(address: string): string {
  return new SocketAddress({ address, family: isIPv6(address) ? "ipv6" : "ipv4" }).address;
}

/** RFC 8305 section 4: the families take turns, the first answer's first; within one the order stays. */
function interleave(addresses: readonly string[]): string[] {
  const [first = ""] = addresses;
  const isFirsts = (address: string): boolean => isIPv6(address) === isIPv6(first);
  const others = addresses.filter((address) => !isFirsts(address));
  const turns = addresses.filter(isFirsts).flatMap((address, at) => [address, ...others.slice(at, at + 1)]);
  return [...turns, ...others.filter((address) => !turns.includes(address))];
}

/** As it was when it was made: of a connection that was broken off since, the kernel knows no addresses. */
interface Connected {
  readonly socket: Socket;
  readonly from: string | undefined;
  readonly address: string | undefined;
}

/** The first attempt that succeeds. Another is made when the last has failed, or has taken `ATTEMPT_DELAY_MS`. */
async function connectFirst(addresses: readonly string[], options: DialOptions): Promise<Connected> {
  const { name, port, signal, connectMs, onread, open = openSocket } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Connected>();
  const attempts = new Set<Socket>();
  const codes: string[] = [];
  let started = 0;
  let delay: NodeJS.Timeout | undefined;
  const next = (): void => {
    clearTimeout(delay);
    const address = addresses[started];
    if (address === undefined) return;
    started += 1;
    const socket = open(address, port, onread);
    attempts.add(socket);
    socket.once("connect", () =>
      resolve({ socket, from: socket.localAddress, address: socket.remoteAddress }),
    );
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!attempts.delete(socket)) return; // it was handed over, or is not waited for any more
      codes.push(error.code ?? "no reason");
      if (codes.length === addresses.length) reject(new Refusal(whyUnconnected(options, codes)));
      else next();
    });
    delay = setTimeout(next, ATTEMPT_DELAY_MS);
  };
  const giveUp = (why: string): void => reject(new Refusal(why));
  const late = `${name} did not answer on port ${port} within ${connectMs} ms`;
  const deadline = setTimeout(() => giveUp(late), connectMs);
  const onAbort = (): void => giveUp(`port ${port} of ${name} was given up while it was connected`);
  signal.addEventListener("abort", onAbort);
  try {
    if (signal.aborted) onAbort();
    else next();
    const connected = await promise;
    attempts.delete(connected.socket);
    return connected;
  } finally {
    clearTimeout(delay);
    clearTimeout(deadline);
    signal.removeEventListener("abort", onAbort);
    started = addresses.length;
    for (const socket of attempts) socket.destroy();
  }
}

function openSocket(address: string, port: number, onread: OnReadOpts | undefined): Socket {
  const reads = onread === undefined ? {} : { onread };
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true, ...reads });
  return socket.pause();
}

function whyUnconnected({ name, port }: DialOptions, codes: readonly string[]): string {
  if (codes.includes("ECONNREFUSED")) return `nothing listens on port ${port} of ${name}`;
  return `port ${port} of ${name} could not be connected (${codes[0]})`;
}
