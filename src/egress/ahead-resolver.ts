import type { Resolver } from "./resolver.ts";

/** Names that are asked for ahead at a time; those beyond are asked for when somebody connects. */
export const AHEAD_MAX = 16;
/** How long an answer that was asked for ahead may wait for its connection. */
export const AHEAD_MS_MAX = 2_000;

interface Ahead {
  readonly answer: Promise<readonly string[]>;
  readonly atMs: number;
}

/**
 * Resolves a name when a tool asks the gate for it, so that the connection that follows finds the answer there. Each
 * answer serves one connection: what was checked is what is connected to.
 */
export class AheadResolver implements Resolver {
  readonly #resolver: Resolver;
  readonly #ahead = new Map<string, Ahead>();
  #asking = 0;

  constructor(resolver: Resolver) {
    this.#resolver = resolver;
  }

  ahead(name: string, signal: AbortSignal): void {
    const known = this.#ahead.get(name);
    if (known !== undefined && performance.now() - known.atMs < AHEAD_MS_MAX) return;
    if (this.#asking >= AHEAD_MAX) return;
    this.#asking += 1;
    const answer = this.#resolver.resolve(name, signal);
    const answered = (): void => {
      this.#asking -= 1;
    };
    answer.then(answered, answered); // whoever connects is told
    this.#ahead.set(name, { answer, atMs: performance.now() });
  }

  async resolve(name: string, signal: AbortSignal): Promise<readonly string[]> {
    const known = this.#ahead.get(name);
    this.#ahead.delete(name);
    if (known === undefined || performance.now() - known.atMs >= AHEAD_MS_MAX)
      return await this.#resolver.resolve(name, signal);
    return await known.answer;
  }
}
