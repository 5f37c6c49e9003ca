import type { ClientRequest, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { Refusal, type Visit } from "../visit.ts";
import { answerHeaders, maskerOf } from "./answer-head.ts";
import { answerTo, written } from "./await-outside.ts";
import type { Asked } from "./exchange.ts";
import { countReceived, countSent, type Tally } from "./outgoing.ts";
import { newWatch } from "./placeholder-head.ts";
import { respond } from "./respond.ts";

interface Switched {
  readonly answer: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Carries a WebSocket, once the outside has agreed to it, until either end closes it. */
export async function carryWebSocket(
  visit: Visit,
  { request, response, upgrade: inside }: Asked & Required<Pick<Asked, "upgrade">>,
  outside: ClientRequest,
  tally: Tally,
): Promise<{ readonly status: number | null; readonly goesOn: false }> {
  const switched = new Promise<Switched>((resolve) => {
    outside.once("upgrade", (answer, socket, head) => resolve({ answer, socket, head }));
  });
  outside.end();
  const outcome = await Promise.race([switched, answerTo(outside)]);
  if (!("socket" in outcome && "answer" in outcome)) {
    // Its words are lost on a client that asked for a WebSocket; its status is not.
    const { statusCode = 502 } = outcome;
    outside.destroy();
    await respond(
      { request, response },
      statusCode,
      `${visit.name} answered ${statusCode} and opened no WebSocket`,
    );
    return { status: statusCode, goesOn: false };
  }
  const { answer, socket, head } = outcome;
  if (answer.headers.upgrade?.toLowerCase() !== "websocket") {
    socket.destroy();
    throw new Refusal("the other end changed to another protocol than WebSocket");
  }
  inside.socket.write(headOf(visit, answer), "latin1");
  response.detachSocket(request.socket);
  response.statusCode = 101;
  response.destroy(); // Nobody may answer through it any more.
  const watch = newWatch(visit);
  const toOutside = pump(inside.socket, socket, inside.head, (chunk) => {
    countSent(visit, tally, chunk.length);
    watch.see(chunk);
  });
  const toInside = pump(socket, inside.socket, head, (chunk) => countReceived(visit, tally, chunk.length));
  try {
    await Promise.all([toOutside, toInside]);
  } finally {
    socket.destroy();
    inside.socket.destroy();
  }
  return { status: 101, goesOn: false };
}

function headOf(visit: Visit, answer: IncomingMessage): string {
  const headers = [
    ...answerHeaders(answer, maskerOf(visit)),
    "connection",
    "upgrade",
    "upgrade",
    "websocket",
  ];
  const lines = Array.from(
    { length: headers.length / 2 },
    (_, at) => `${headers[2 * at]}: ${headers[2 * at + 1]}\r\n`,
  );
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`;
}

async function pump(from: Duplex, to: Duplex, head: Buffer, see: (chunk: Buffer) => void): Promise<void> {
  to.on("error", () => {}); // Its end says so.
  const pass = async (chunk: Buffer): Promise<void> => {
    see(chunk);
    await written(to, chunk);
  };
  if (head.length > 0) await pass(head);
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) await pass(chunk);
  } catch (error) {
    // One that broke off has closed.
    if (error instanceof Refusal) throw error;
  }
  to.end();
}
