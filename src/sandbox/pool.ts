import type { Digest } from "../contract/ids.ts";
import type { Profile } from "../contract/profile.ts";
import type { Driver, Sandbox } from "./driver.ts";
import { isAbsent } from "./stand-ins.ts";

/** How many sandboxes may wait for one tool of one caller. */
export const POOL_PER_SLOT_MAX = 8;
/** How many may wait in all. */
export const POOL_TOTAL_MAX = 16;
/** How long one may wait before it is thrown away; a slot nobody asked for meanwhile is not filled again. */
export const POOL_AGE_MS_MAX = 60_000;
/** What all that wait may use together. */
export const POOL_MEMORY_BYTES_MAX: number = 512 * 1024 * 1024;
/** What a waiting sandbox is taken to use where no cgroup counts it. */
export const POOL_UNCOUNTED_BYTES: number = 32 * 1024 * 1024;
const SWEEP_MS = 1_000;

export interface PoolBounds {
  readonly perSlotMax: number;
  readonly totalMax: number;
  readonly ageMsMax: number;
  readonly memoryBytesMax: number;
}

const BOUNDS: PoolBounds = {
  perSlotMax: POOL_PER_SLOT_MAX,
  totalMax: POOL_TOTAL_MAX,
  ageMsMax: POOL_AGE_MS_MAX,
  memoryBytesMax: POOL_MEMORY_BYTES_MAX,
};

/**
 * Whether a sandbox of this profile may be built before its call: not where it would leave stand-ins for absent
 * protected paths in the user's tree or copies of it, nor where a supervisor has to run beside it.
 */
export function mayWait(profile: Profile): boolean {
  const isWatched = profile.explainSyscalls === true || profile.observeFiles === true;
  const isPlain = !isWatched && profile.files.staged !== true;
  return isPlain && !profile.files.protect.some(isAbsent);
}

/** Whose sandbox, and for what: one is never handed to another caller, nor under another profile. */
export interface PoolKey {
  /** One tool of one caller. */
  readonly slot: string;
  readonly profileDigest: Digest;
}

/** What `doctor` and metrics show. */
export interface PoolStats {
  readonly waiting: number;
  readonly building: number;
  readonly memoryBytes: number;
  /** Calls that found one waiting, and calls that did not. */
  readonly served: number;
  readonly missed: number;
  readonly built: number;
  /** Builds behind the back of a call that failed; the next call builds, or fails, by itself. */
  readonly failed: number;
  /** Thrown away unused, and why. */
  readonly discarded: {
    readonly age: number;
    readonly change: number;
    readonly died: number;
    readonly room: number;
  };
}

interface Waiting {
  readonly sandbox: Sandbox;
  readonly sinceMs: number;
}

interface Slot {
  profileDigest: Digest;
  readonly driver: Driver;
  readonly profile: Profile;
  readonly waiting: Waiting[];
  building: number;
  /** How many it tries to keep: one more each time a call finds none. */
  ahead: number;
  /** Called for since it was last filled. */
  wanted: boolean;
  /** Replaced by another profile, or the pool is closed: what is still being built is thrown away. */
  stale: boolean;
}

/**
 * Sandboxes built ahead, per tool and caller and profile, each used once. Nothing is trusted for having waited: a call
 * reads the evidence of one that comes from here as it reads any other's.
 */
export class Pool implements AsyncDisposable {
  readonly #bounds: PoolBounds;
  readonly #slots = new Map<string, Slot>();
  readonly #work = new Set<Promise<void>>();
  readonly #counts = { served: 0, missed: 0, built: 0, failed: 0, age: 0, change: 0, died: 0, room: 0 };
  readonly #sweeper: NodeJS.Timeout;
  #closed = false;

  constructor(bounds: Partial<PoolBounds> = {}) {
    this.#bounds = { ...BOUNDS, ...bounds };
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP_MS, this.#bounds.ageMsMax)).unref();
  }

  /** One that waits for exactly this, or a new one. @throws what `driver.open` throws. */
  async take(driver: Driver, profile: Profile, key: PoolKey): Promise<Taken> {
    const slot = this.#slotFor(driver, profile, key);
    slot.wanted = true;
    for (let next = slot.waiting.shift(); next !== undefined; next = slot.waiting.shift()) {
      if (!this.#isFresh(next)) continue;
      this.#counts.served += 1;
      const spoiled = (): void => {
        this.#counts.change += this.#empty(key.slot);
      };
      return { sandbox: next.sandbox, waitedMs: Date.now() - next.sinceMs, spoiled };
    }
    this.#counts.missed += 1;
    slot.ahead = Math.min(slot.ahead + 1, this.#bounds.perSlotMax);
    return await openNow(driver, profile);
  }

  /** Builds what is missing. Called when a call is over, so that it costs that call nothing. */
  restock(): void {
    if (this.#closed) return;
    for (const slot of this.#slots.values()) {
      while (slot.wanted && slot.waiting.length + slot.building < slot.ahead && this.#makeRoom(slot))
        this.#build(slot);
      slot.wanted = slot.wanted && slot.waiting.length + slot.building < slot.ahead;
    }
  }

  stats(): PoolStats {
    const { age, change, died, room, ...counts } = this.#counts;
    return {
      waiting: this.#count((slot) => slot.waiting.length),
      building: this.#count((slot) => slot.building),
      memoryBytes: this.#memoryBytes(),
      ...counts,
      discarded: { age, change, died, room },
    };
  }

  /** Ends all that wait, and what is still being built. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const name of [...this.#slots.keys()]) this.#empty(name);
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  /** The slot of a key. Another profile for the same tool and caller means that what waits there is out of date. */
  #slotFor(driver: Driver, profile: Profile, { slot: name, profileDigest }: PoolKey): Slot {
    const known = this.#slots.get(name);
    if (known !== undefined && known.profileDigest === profileDigest && known.driver === driver) {
      // Last in the order of the map: the slot that gives up room first is the one nobody asked for the longest.
      this.#slots.delete(name);
      this.#slots.set(name, known);
      return known;
    }
    if (known !== undefined) this.#counts.change += this.#empty(name);
    const fresh: Slot = {
      profileDigest,
      driver,
      profile,
      waiting: [],
      building: 0,
      ahead: 0,
      wanted: true,
      stale: this.#closed,
    };
    if (!this.#closed) this.#slots.set(name, fresh);
    return fresh;
  }

  #isFresh({ sandbox, sinceMs }: Waiting): boolean {
    const old = Date.now() - sinceMs > this.#bounds.ageMsMax;
    if (!old && sandbox.alive) return true;
    this.#counts[old ? "age" : "died"] += 1;
    this.#discard(sandbox);
    return false;
  }

  #build(slot: Slot): void {
    slot.building += 1;
    this.#track(
      slot.driver.open(slot.profile).then(
        (sandbox) => {
          slot.building -= 1;
          this.#counts.built += 1;
          if (slot.stale) this.#discard(sandbox);
          else this.#admit(slot, sandbox);
        },
        () => {
          slot.building -= 1;
          slot.ahead = 0; // not tried again until a call has been here
          this.#counts.failed += 1;
        },
      ),
    );
  }

  #admit(slot: Slot, sandbox: Sandbox): void {
    slot.waiting.push({ sandbox, sinceMs: Date.now() });
    if (this.#memoryBytes() <= this.#bounds.memoryBytesMax) return;
    slot.waiting.pop();
    slot.ahead = slot.waiting.length;
    this.#counts.room += 1;
    this.#discard(sandbox);
  }

  /** Whether one more may wait; if not, the slot nobody asked for the longest gives one up. */
  #makeRoom(asking: Slot): boolean {
    const isFull = (): boolean =>
      this.#count((slot) => slot.waiting.length + slot.building) >= this.#bounds.totalMax ||
      this.#memoryBytes() >= this.#bounds.memoryBytesMax;
    for (const slot of this.#slots.values()) {
      if (slot === asking) break;
      while (isFull()) {
        const given = slot.waiting.shift();
        if (given === undefined) break;
        this.#counts.room += 1;
        slot.ahead = slot.waiting.length;
        this.#discard(given.sandbox);
      }
    }
    return !isFull();
  }

  #sweep(): void {
    for (const [name, slot] of this.#slots) {
      const before = slot.waiting.length;
      const fresh = slot.waiting.filter((one) => this.#isFresh(one));
      slot.waiting.splice(0, before, ...fresh);
      if (fresh.length < before) slot.ahead = fresh.length;
      if (slot.ahead === 0 && slot.building === 0) this.#slots.delete(name);
    }
  }

  #empty(name: string): number {
    const slot = this.#slots.get(name);
    if (slot === undefined) return 0;
    this.#slots.delete(name);
    slot.stale = true;
    const left = slot.waiting.splice(0);
    for (const { sandbox } of left) this.#discard(sandbox);
    return left.length;
  }

  #discard(sandbox: Sandbox): void {
    // It was never used; what cannot be taken away now, its driver sweeps at the next start.
    this.#track(sandbox[Symbol.asyncDispose]().then(undefined, () => {}));
  }

  #track(work: PromiseLike<void>): void {
    const tracked = Promise.resolve(work).finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  #count(of: (slot: Slot) => number): number {
    return [...this.#slots.values()].reduce((sum, slot) => sum + of(slot), 0);
  }

  /** What is still being built counts as if nothing counted it. */
  #memoryBytes(): number {
    return this.#count((slot) =>
      slot.waiting.reduce(
        (sum, { sandbox }) => sum + (sandbox.memoryBytes() ?? POOL_UNCOUNTED_BYTES),
        slot.building * POOL_UNCOUNTED_BYTES,
      ),
    );
  }
}

/** A sandbox from the pool, and how long it had waited; 0: built for this call. */
export interface Taken {
  readonly sandbox: Sandbox;
  readonly waitedMs: number;
  /** It did not stand up to inspection: what waits beside it was built in the same world, and is thrown away too. */
  readonly spoiled: () => void;
}

/** Built for this call alone. @throws what `driver.open` throws. */
export async function openNow(driver: Driver, profile: Profile): Promise<Taken> {
  return { sandbox: await driver.open(profile), waitedMs: 0, spoiled: () => {} };
}
