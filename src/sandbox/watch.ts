import type { KilledBy } from "../contract/execution.ts";
import type { Limits } from "../contract/profile.ts";
import type { LimitGroup } from "./limits/backend.ts";

/** How often limits without a signal of their own are looked at. */
const POLL_MS = 50;

/**
 * Watches one running tool and ends it once: by wall time, by a limit of its group, by too much output or input, or
 * because the caller gave up. The first reason is the one that is kept.
 */
export class Watch implements Disposable {
  readonly #group: LimitGroup;
  readonly #kill: () => void;
  readonly #wall: NodeJS.Timeout;
  readonly #poll: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.end("abort");
  readonly #ended = Promise.withResolvers<void>();
  #reason: KilledBy | null = null;

  constructor(limits: Limits, group: LimitGroup, kill: () => void, signal?: AbortSignal) {
    this.#group = group;
    this.#kill = kill;
    this.#signal = signal;
    this.#wall = setTimeout(() => this.end("wall"), limits.wallMs);
    this.#poll = setInterval(() => this.#look(), POLL_MS);
    if (signal?.aborted === true) this.end("abort");
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  end(reason: KilledBy): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#kill();
    this.#ended.resolve();
  }

  /** Resolves when it has ended the tool; never where the tool ended by itself. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The tool is over: from now on no time and nobody ends it, though a limit it has met still counts. */
  settle(): void {
    clearTimeout(this.#wall);
    clearInterval(this.#poll);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  /** Why it was ended; a limit met in the last moments counts too. */
  reason(): KilledBy | null {
    if (this.#reason === null) this.#look();
    return this.#reason;
  }

  [Symbol.dispose](): void {
    this.settle();
  }

  #look(): void {
    try {
      const breach = this.#group.breached();
      if (breach !== null) this.end(breach);
    } catch {
      // A limit that can no longer be read no longer bounds anything.
      this.end("abort");
    }
  }
}
