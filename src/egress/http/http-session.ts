import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Visit } from "../visit.ts";
import { type Asked, exchange } from "./exchange.ts";
import { HEADER_BYTES_MAX, TARGET_BYTES_MAX } from "./judge-request.ts";
import type { Upstream } from "./upstream.ts";

/** Requests that were read while an earlier one was being answered. */
export const PIPELINED_MAX = 16;
/** Of a head, for the parser: what a judged one has, and its colons and line ends. */
const HEAD_BYTES_MAX: number = HEADER_BYTES_MAX + TARGET_BYTES_MAX + 4096;

/** Reads requests from one connection, and has them answered one after another. */
export class HttpSession {
  readonly #visit: Visit;
  readonly #upstream: Upstream;
  readonly #connection: Socket;
  readonly #server: Server;
  #chain: Promise<void> = Promise.resolve();
  #waiting = 0;
  #ends = false;
  #why: string | undefined;
  /** Until the next request. */
  #opening: NodeJS.Timeout | undefined;

  constructor(visit: Visit, upstream: Upstream, connection: Socket) {
    this.#visit = visit;
    this.#upstream = upstream;
    this.#connection = connection;
    this.#server = createServer({
      ...{ insecureHTTPParser: false, maxHeaderSize: HEAD_BYTES_MAX, requireHostHeader: false },
      ...{ keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0, noDelay: true },
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() !== "h2c",
    });
    this.#server.timeout = 0;
    // A tool that has said FIN still waits for its answer. Node's types do not know this one.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#server.maxHeadersCount = 0; // Those beyond it would be left out in silence.
    this.#listen();
  }

  /** @returns words, where a bound ended it. */
  async run(): Promise<string | undefined> {
    const { signal, bounds } = this.#visit;
    const { idleMs, openingMs } = bounds.max;
    const connection = this.#connection;
    const closed = new Promise<void>((resolve) => connection.once("close", () => resolve()));
    const onGone = (): void => void connection.destroy();
    signal.addEventListener("abort", onGone);
    let moved = -1;
    const idle = setInterval(() => {
      const now = connection.bytesRead + connection.bytesWritten + this.#upstream.moved;
      if (now === moved) this.#cut(`nothing moved for ${idleMs} ms`);
      moved = now;
    }, idleMs);
    this.#await(openingMs);
    this.#server.emit("connection", connection);
    connection.resume();
    // It may have told its end before anybody listened.
    if (signal.aborted || connection.destroyed || connection.readableEnded) connection.destroy();
    else await closed;
    clearInterval(idle);
    clearTimeout(this.#opening);
    signal.removeEventListener("abort", onGone);
    this.#upstream.close();
    await this.#chain;
    return this.#why;
  }

  #listen(): void {
    const take = (request: IncomingMessage, response: ServerResponse): void =>
      this.#take({ request, response });
    this.#server.on("request", take);
    this.#server.on("checkContinue", take);
    this.#server.on("checkExpectation", (request, response) =>
      this.#take({ request, response, refused: "its Expect is not `100-continue`" }),
    );
    this.#server.on("upgrade", (request, socket, head) =>
      this.#takeOver(request, socket, { upgrade: { socket, head } }),
    );
    this.#server.on("connect", (request, socket) =>
      this.#takeOver(request, socket, { refused: "CONNECT asks for a tunnel" }),
    );
    this.#server.on("clientError", (error: Error & { readonly code?: string }) =>
      this.#unreadable(error.code),
    );
  }

  /** Node leaves the connection of such a request to whoever takes it, without a response. */
  #takeOver(request: IncomingMessage, socket: Duplex, how: Partial<Asked>): void {
    socket.on("error", () => {});
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // After the answers before it.
    this.#take({ request, response, ...how }, () => response.assignSocket(socket as Socket));
  }

  #take(asked: Asked, begin?: () => void): void {
    clearTimeout(this.#opening);
    this.#waiting += 1;
    if (this.#waiting > PIPELINED_MAX) {
      this.#cut(`more than ${PIPELINED_MAX} requests at a time`);
      return;
    }
    asked.request.on("error", () => {});
    asked.response.on("error", () => {});
    this.#chain = this.#chain.then(async () => {
      if (!this.#ends && !this.#connection.destroyed) {
        begin?.();
        // INVARIANT: the chain never rejects; what nobody foresaw ends this connection and nothing else.
        this.#ends = !(await exchange(this.#visit, this.#upstream, asked).catch(() => {
          this.#connection.destroy();
          return false;
        }));
        // Whatever the other end was promised: what comes after is not judged any more.
        if (this.#ends) this.#connection.end();
      }
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#await(this.#visit.bounds.max.idleMs);
    });
  }

  #await(ms: number): void {
    clearTimeout(this.#opening);
    if (this.#connection.destroyed) return;
    this.#opening = setTimeout(() => this.#cut(`no request came within ${ms} ms`), ms);
  }

  /** What Node's parser refuses, or a connection that broke. */
  #unreadable(code: string | undefined): void {
    const connection = this.#connection;
    if (code?.startsWith("HPE_") !== true || connection.destroyed) return void connection.destroy();
    const { name, port, report } = this.#visit;
    const why = `it is no HTTP request that can be read (${code})`;
    const none = { durationMs: 0, bytesSent: 0, bytesReceived: 0 };
    report({ verdict: "refused", kind: "request", name, port, why, startedMs: Date.now(), ...none });
    const isBusy = this.#waiting > 0;
    this.#ends = true;
    if (isBusy) return void connection.destroy();
    const body = `callgate: ${why}\n`;
    const head = `content-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close`;
    connection.end(`HTTP/1.1 400 Bad Request\r\n${head}\r\n\r\n${body}`, () => connection.destroy());
  }

  #cut(why: string): void {
    this.#ends = true;
    if (!this.#connection.destroyed) this.#why ??= why;
    this.#connection.destroy();
  }
}
