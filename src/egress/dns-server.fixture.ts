import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { encodeReply, parseQuery, RCODE, TYPE } from "./dns-message.ts";

type RecordType = "A" | "AAAA";

export interface DnsServer extends AsyncDisposable {
  /** As a resolver's server is written: `127.0.0.1:PORT`. */
  readonly address: string;
  /** What was asked so far, in order: `example.com A`. */
  readonly asked: readonly string[];
}

/**
 * A DNS server on loopback.
 * @param answers addresses of either family by name, which may change between two questions, or a function that is
 *   asked each time. No entry: no such name. None of the type: no data.
 * @param silent questions to which there is no answer at all
 * @param delayMs how long an answer waits
 * @param isLast which answers wait for another one to be sent, and follow it at once
 */
export async function startDnsServer({
  answers,
  silent = () => false,
  delayMs = () => 0,
  isLast = () => false,
  port: own = 0,
}: {
  readonly answers:
    | ReadonlyMap<string, readonly string[]>
    | ((name: string, type: RecordType) => readonly string[] | undefined);
  readonly silent?: (name: string, type: RecordType) => boolean;
  readonly delayMs?: (name: string, type: RecordType) => number;
  readonly isLast?: (name: string, type: RecordType) => boolean;
  readonly port?: number;
}): Promise<DnsServer> {
  const lookUp = typeof answers === "function" ? answers : (name: string) => answers.get(name);
  const asked: string[] = [];
  const held: (() => void)[] = [];
  let hasSent = false;
  let isOpen = true;
  const socket = createSocket("udp4");
  socket.on("message", (message, { address, port }) => {
    const parsed = parseQuery(message);
    if (parsed.kind !== "query") return;
    const { query } = parsed;
    const type = query.type === TYPE.AAAA ? "AAAA" : "A";
    const name = query.hostname ?? "";
    asked.push(`${name} ${type}`);
    if (silent(name, type)) return;
    const found = lookUp(name, type);
    const fitting = (found ?? []).filter((each) => isIPv6(each) === (type === "AAAA"));
    const reply = encodeReply(query, found ? RCODE.NOERROR : RCODE.NXDOMAIN, fitting);
    const send = (): void => {
      if (isOpen) socket.send(reply, port, address);
    };
    if (isLast(name, type) && !hasSent) return void held.push(send);
    hasSent = true;
    setTimeout(
      () => {
        send();
        for (const next of held.splice(0)) next();
      },
      delayMs(name, type),
    );
  });
  socket.bind(own, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    async [Symbol.asyncDispose]() {
      isOpen = false;
      socket.close();
      await once(socket, "close");
    },
  };
}
