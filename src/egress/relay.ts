import type { Socket } from "node:net";
import type { Bounds } from "./bounds.ts";
import { reset } from "./reset.ts";
import type { StaticReads } from "./static-reads.ts";
import { Refusal, remedyIn } from "./visit.ts";

/**
 * `closed`: both ends said FIN. `reset-inside`, `reset-outside`: that one broke off. `idle`, `bytes`: a bound was met.
 * `refused`: `inspect` did. `gone`: the sandbox is.
 */
export type RelayEnd = "closed" | "reset-inside" | "reset-outside" | "idle" | "bytes" | "refused" | "gone";

export interface Relayed {
  /** Bytes from the tool, and to it. */
  readonly sent: number;
  readonly received: number;
  readonly end: RelayEnd;
  /** Where a bound was met or `inspect` refused. */
  readonly why?: string;
  readonly remedy?: string;
}

export interface RelayOptions {
  /** What was read of the inside already: it goes out first. */
  readonly head: Buffer;
  readonly bounds: Bounds;
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** What the outside was connected with, if it was. */
  readonly reads?: StaticReads;
  /** Sees all bytes from the tool, `head` too, before they go out. @throws Refusal */
  readonly inspect?: (chunk: Buffer) => void;
  /** Sees all bytes to the tool, before they get there. */
  readonly overhear?: (chunk: Buffer) => void;
}

/**
 * Carries bytes between two paused `allowHalfOpen` sockets until both are closed. FIN is passed on as FIN and a reset
 * as a reset; whatever else ends it resets both. Per way at most one buffer more than the receiver's kernel takes is held.
 */
export function relay(inside: Socket, outside: Socket, options: RelayOptions): Promise<Relayed> {
  return new Relay(inside, outside, options).run();
}

class Relay {
  readonly #inside: Socket;
  readonly #outside: Socket;
  readonly #options: RelayOptions;
  readonly #done: PromiseWithResolvers<Relayed> = Promise.withResolvers();
  #sent = 0;
  #received = 0;
  /** What ended it, where it was not both ends' FIN. */
  #end: RelayEnd | undefined;
  #why: string | undefined;
  #remedy: string | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** Since the idle bound was looked at last. */
  #moved = false;
  /** The outside is not read, since the inside has not taken all of what was read last. */
  #waits = false;

  constructor(inside: Socket, outside: Socket, options: RelayOptions) {
    this.#inside = inside;
    this.#outside = outside;
    this.#options = options;
  }

  run(): Promise<Relayed> {
    const { head, idleMs, signal, reads } = this.#options;
    this.#idle = setInterval(() => {
      if (!this.#moved) this.#stop("idle", `nothing moved for ${idleMs} ms`);
      this.#moved = false;
    }, idleMs);
    signal.addEventListener("abort", this.#onAbort);
    this.#watch(this.#inside, this.#outside, "reset-inside");
    this.#watch(this.#outside, this.#inside, "reset-outside");
    if (signal.aborted) this.#onAbort();
    if (this.#end === undefined && head.length > 0) this.#fromInside(head);
    if (this.#end !== undefined) return this.#done.promise;
    this.#inside.on("data", (chunk: Buffer) => {
      if (!this.#fromInside(chunk)) this.#inside.pause();
    });
    this.#outside.on("drain", () => {
      this.#moved = true;
      this.#inside.resume();
    });
    // Of a socket that reads into `reads`, nothing ever comes as 'data'.
    this.#outside.on("data", (chunk: Buffer) => {
      if (!this.#fromOutside(chunk)) this.#outside.pause();
    });
    reads?.use((chunk) => this.#fromOutside(chunk));
    // A paused socket may have told its end before anybody listened.
    if (this.#inside.readableEnded) this.#outside.end();
    if (this.#outside.readableEnded) this.#inside.end();
    this.#inside.resume();
    this.#outside.resume();
    return this.#done.promise;
  }

  /** @returns whether more may be read. */
  #fromInside(chunk: Buffer): boolean {
    this.#moved = true;
    this.#sent += chunk.length;
    try {
      this.#options.bounds.send(chunk.length);
    } catch (error) {
      this.#refuse("bytes", error);
    }
    try {
      this.#options.inspect?.(chunk);
    } catch (error) {
      this.#refuse("refused", error);
    }
    return this.#outside.write(chunk); // After a reset nothing comes of it.
  }

  /** INVARIANT: nothing is read into the same buffer before the write out of it is through. @returns whether it is. */
  #fromOutside(chunk: Buffer): boolean {
    this.#moved = true;
    this.#received += chunk.length;
    try {
      this.#options.bounds.receive(chunk.length);
    } catch (error) {
      this.#refuse("bytes", error);
    }
    this.#options.overhear?.(chunk);
    this.#inside.write(chunk, this.#written);
    this.#waits = this.#inside.writableLength > 0;
    return !this.#waits;
  }

  readonly #written = (): void => {
    if (!this.#waits || this.#inside.writableLength > 0) return;
    this.#waits = false;
    this.#moved = true;
    this.#outside.resume();
  };

  #refuse(end: "bytes" | "refused", error: unknown): void {
    if (this.#end === undefined) this.#remedy = remedyIn(error).remedy;
    this.#stop(end, error instanceof Refusal ? error.message : "the gate failed on it");
  }

  readonly #onAbort = (): void => this.#stop("gone");

  #stop(end: RelayEnd, why?: string): void {
    if (this.#end === undefined) {
      this.#end = end;
      this.#why = why;
    }
    reset(this.#inside);
    reset(this.#outside);
    if (this.#inside.closed && this.#outside.closed) this.#finish();
  }

  #watch(socket: Socket, other: Socket, broken: RelayEnd): void {
    socket.setNoDelay(true);
    socket.on("error", () => {}); // 'close' follows, and is told what there was.
    socket.on("end", () => other.end());
    socket.on("close", () => {
      // Without FIN from both it was broken off, by its peer or by a fault on the way.
      if (!socket.readableEnded || !socket.writableFinished) this.#stop(broken);
      if (other.closed) this.#finish();
    });
    if (socket.destroyed) this.#stop(broken);
  }

  #finish(): void {
    clearInterval(this.#idle);
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#done.resolve({
      sent: this.#sent,
      received: this.#received,
      end: this.#end ?? "closed",
      ...(this.#why === undefined ? {} : { why: this.#why }),
      ...(this.#remedy === undefined ? {} : { remedy: this.#remedy }),
    });
  }
}
