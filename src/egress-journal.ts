import type { CallId } from "./contract/ids.ts";
import type { EgressFact } from "./contract/network.ts";
import type { RecordDraft } from "./contract/record.ts";
import { egressDraft } from "./gate-records.ts";

/**
 * How many refusals of one call the record takes; one more says that there were others. What was allowed is recorded
 * whatever was refused before: the bounds of a sandbox's network are the bounds of it.
 */
export const EGRESS_REFUSALS_MAX = 5_000;
/** How long a fact may wait for others before it is written: what a crash of the gateway can lose. */
const GATHER_MS = 200;
/** How many are written at once. */
const GATHER_MAX = 64;

/** Writes what happens at the edge of one call's network, a few facts at a time, while the call runs. */
export class EgressJournal implements AsyncDisposable {
  readonly #call: CallId;
  readonly #append: (drafts: readonly RecordDraft[]) => Promise<unknown>;
  readonly #facts: EgressFact[] = [];
  #waiting: EgressFact[] = [];
  #refusals = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #writes = new Set<Promise<unknown>>();
  #failure: unknown;

  constructor(call: CallId, append: (drafts: readonly RecordDraft[]) => Promise<unknown>) {
    this.#call = call;
    this.#append = append;
  }

  note(fact: EgressFact): void {
    if (fact.verdict === "refused") this.#refusals += 1;
    const isOver = fact.verdict === "refused" && this.#refusals > EGRESS_REFUSALS_MAX;
    if (isOver && this.#refusals > EGRESS_REFUSALS_MAX + 1) return;
    this.#facts.push(fact);
    this.#waiting.push(isOver ? tooMany(fact) : fact);
    if (this.#waiting.length >= GATHER_MAX) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), GATHER_MS);
  }

  /** All so far, as many as the record takes. */
  get facts(): readonly EgressFact[] {
    return this.#facts;
  }

  /** Writes the rest. Settles once everything is written. @throws what a write failed with. */
  async close(): Promise<void> {
    this.#write();
    await Promise.all(this.#writes);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** As `close`; for a call that failed before it came to that, which has an error of its own. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    const write = this.#append(this.#take()).catch((error) => {
      this.#failure ??= error;
    });
    this.#writes.add(write);
    void write.finally(() => this.#writes.delete(write));
  }

  #take(): readonly RecordDraft[] {
    const drafts = this.#waiting.map((fact) => egressDraft(this.#call, fact));
    this.#waiting = [];
    return drafts;
  }
}

function tooMany(last: EgressFact): EgressFact {
  return { ...last, why: `more than ${EGRESS_REFUSALS_MAX} refusals: those after this one are not recorded` };
}
