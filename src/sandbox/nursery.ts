/** Something made ahead of its use, cheap to throw away. */
export interface Sprout {
  /** False where its process is gone: it is passed over. */
  readonly alive: boolean;
}

export interface NurseryTerms<T extends Sprout> {
  readonly make: () => Promise<T>;
  readonly discard: (one: T) => Promise<void>;
}

/** Keeps a few of something ready, makes more behind the back of whoever takes one, and ends those that are left. */
export class Nursery<T extends Sprout> implements AsyncDisposable {
  readonly #terms: NurseryTerms<T>;
  readonly #ready: Promise<T>[] = [];
  #ahead = 0;
  #closed = false;

  constructor(terms: NurseryTerms<T>) {
    this.#terms = terms;
  }

  /** Makes up to this many ready now; `keeping` makes up for each that is taken later. */
  warm(ahead: number, keeping: boolean): void {
    this.#ahead = ahead;
    this.#fill();
    if (!keeping) this.#ahead = 0;
  }

  /** One that was ready, or a new one. @throws what making it throws. */
  async take(): Promise<T> {
    setImmediate(() => this.#fill());
    for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) {
      const one = await next.catch(() => undefined); // the caller makes one itself, and gets the error if there is one
      if (one === undefined) continue;
      if (one.alive) return one;
      await this.#terms.discard(one);
    }
    return await this.#terms.make();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#ahead = 0;
    const left = await Promise.allSettled(this.#ready.splice(0));
    for (const one of left) if (one.status === "fulfilled") await this.#terms.discard(one.value);
  }

  #fill(): void {
    while (!this.#closed && this.#ready.length < this.#ahead) {
      const one = this.#terms.make();
      one.catch(() => {}); // said to whoever takes it
      this.#ready.push(one);
    }
  }
}
