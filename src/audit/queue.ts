import { GateError } from "../contract/errors.ts";
import { fromFaultData } from "./fault.ts";
import type { AppendDone, AppendWork, Writer } from "./work.ts";

/** How many appends may wait at once; each is a call that waits too. */
export const QUEUE_APPENDS_MAX = 16_384;
/** With so many waiting a commit is worth its disk write, also while others are under way. */
const BATCH_APPENDS_FULL = 32;
/** How many commits may be on their way to the writer. */
const BATCHES_SENT_MAX = 3;
/** What one commit takes at most. */
const BATCH_APPENDS_MAX = 1_024;
const BATCH_BYTES_MAX: number = 16 * 1024 * 1024;

/** What an append answers: where it stands, and proofs where it asked for them. */
export interface Placed {
  readonly first: number;
  readonly proofs: readonly string[];
}

interface Waiting {
  readonly work: AppendWork;
  readonly bytes: number;
  readonly answer: PromiseWithResolvers<Placed>;
}

function sizeOf(work: AppendWork): number {
  let bytes = 0;
  for (const entry of work.entries) {
    bytes += entry.bytes.length;
    for (const payload of entry.payloads) bytes += payload.bytes?.length ?? 0;
  }
  return bytes;
}

function settle({ answer }: Waiting, done: AppendDone | undefined): void {
  if (done === undefined)
    answer.reject(new GateError("ERR_INTERNAL", "the record's writer left an append out"));
  else if ("refused" in done) answer.reject(fromFaultData(done.refused));
  else answer.resolve(done);
}

/**
 * Group commit: what arrives while a commit is under way goes into the next one. Large batches are sent on before
 * the callers of one turn are all through, so that this thread prepares entries while the writer commits others.
 */
export class AppendQueue {
  readonly #writer: Writer;
  readonly #now: () => number;
  #waiting: Waiting[] = [];
  #sent = 0;
  #scheduled = false;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(writer: Writer, now: () => number) {
    this.#writer = writer;
    this.#now = now;
  }

  /** Resolves when the entries are durable and covered by a signed checkpoint. */
  push(work: AppendWork): Promise<Placed> {
    if (this.#waiting.length >= QUEUE_APPENDS_MAX) {
      const remedy = "send fewer calls at once";
      return Promise.reject(
        new GateError("ERR_STATE_UNWRITABLE", "too many appends are waiting", { remedy }),
      );
    }
    const answer = Promise.withResolvers<Placed>();
    this.#waiting.push({ work, bytes: sizeOf(work), answer });
    if (this.#waiting.length >= BATCH_APPENDS_FULL && this.#sent < BATCHES_SENT_MAX) {
      this.#send();
    } else if (this.#sent === 0 && !this.#scheduled) {
      this.#scheduled = true;
      // One turn later, so that what is appended in this turn shares its commit.
      queueMicrotask(() => {
        this.#scheduled = false;
        if (this.#sent === 0) this.#send();
      });
    }
    return answer.promise;
  }

  /** Waits until nothing is under way. */
  async drain(): Promise<void> {
    while (this.#waiting.length > 0 || this.#sent > 0) {
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
    }
  }

  #take(): readonly Waiting[] {
    let count = 0;
    for (let bytes = 0; count < this.#waiting.length && count < BATCH_APPENDS_MAX; count++) {
      bytes += this.#waiting[count]?.bytes ?? 0;
      if (bytes > BATCH_BYTES_MAX && count > 0) break;
    }
    return this.#waiting.splice(0, count);
  }

  #send(): void {
    const batch = this.#take();
    if (batch.length === 0) return;
    this.#sent++;
    this.#writer.commit({ nowMs: this.#now(), appends: batch.map(({ work }) => work) }).then(
      (done) => {
        this.#answered();
        batch.forEach((waiting, position) => {
          settle(waiting, done[position]);
        });
      },
      (fault: unknown) => {
        this.#answered();
        for (const { answer } of batch) answer.reject(fault);
      },
    );
  }

  /** The next commit starts before this one is answered, so that the disk does not wait for the callers. */
  #answered(): void {
    this.#sent--;
    if (this.#sent === 0) this.#send();
    if (this.#sent > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
