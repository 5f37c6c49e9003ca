import assert from "node:assert/strict";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Digest, digestOf } from "../contract/ids.ts";
import type { Driver, Sandbox } from "./driver.ts";
import { mayWait, POOL_PER_SLOT_MAX, POOL_TOTAL_MAX, Pool, type PoolBounds } from "./pool.ts";
import { openBench, UNCHECKED } from "./sandbox.fixture.ts";

const PROFILE = (await usingProfile()) as never;
const ONE: Digest = digestOf("one");
const TWO: Digest = digestOf("two");

async function usingProfile(): Promise<unknown> {
  await using bench = openBench();
  return bench.profile();
}

class FakeSandbox {
  readonly driver = "fake";
  alive = true;
  closed = false;
  bytes: number | null = 1;
  readonly number: number;
  constructor(number: number) {
    this.number = number;
  }
  memoryBytes(): number | null {
    return this.bytes;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
  }
}

/** A driver whose sandboxes cost nothing, and a pool over it. */
function poolOf(bounds: Partial<PoolBounds> = {}) {
  const opened: FakeSandbox[] = [];
  const failing = { on: false };
  const driver = {
    name: "fake",
    open: async () => {
      if (failing.on) throw new Error("no room");
      const sandbox = new FakeSandbox(opened.length);
      opened.push(sandbox);
      return sandbox;
    },
  } as unknown as Driver;
  const pool = new Pool(bounds);
  const take = async (slot = "a", profileDigest = ONE): Promise<FakeSandbox> =>
    (await pool.take(driver, PROFILE, { slot, profileDigest })).sandbox as Sandbox & FakeSandbox;
  const stock = async (): Promise<void> => {
    pool.restock();
    await sleep(1);
  };
  return { pool, driver, opened, failing, take, stock };
}

describe("the pool", () => {
  test("builds one ahead after a call, hands it out once, and says how it fared", async () => {
    const { pool, take, stock } = poolOf();
    assert.equal((await take()).number, 0);
    await stock();
    assert.equal((await take()).number, 1);
    assert.equal((await take()).number, 2); // none was left
    const { served, missed, built } = pool.stats();
    assert.deepEqual({ served, missed, built }, { served: 1, missed: 2, built: 1 });
  });

  test("never hands one to another caller or tool", async () => {
    const { take, stock } = poolOf();
    await take("a");
    await stock();
    assert.equal((await take("b")).number, 2);
    assert.equal((await take("a")).number, 1);
  });

  test("a changed profile empties what waited for the old one, and what was still being built", async () => {
    const { pool, opened, take, stock } = poolOf();
    await take();
    await stock();
    assert.equal((await take("a", TWO)).number, 2);
    assert.equal(opened[1]?.closed, true);
    assert.equal(pool.stats().discarded.change, 1);
    await take("a", ONE);
    const before = opened.length;
    pool.restock();
    await take("a", TWO);
    await sleep(1);
    // The first of these was still being built for ONE when the profile changed.
    assert.equal(opened.length, before + 2);
    assert.equal(opened[before]?.closed, true);
    assert.equal(pool.stats().waiting, 0);
  });

  test("keeps more where calls come together, up to its bounds", async () => {
    const { pool, take, stock } = poolOf();
    for (let i = 0; i < POOL_PER_SLOT_MAX + 3; i += 1) await take();
    await stock();
    assert.equal(pool.stats().waiting, POOL_PER_SLOT_MAX);
    for (const slot of ["b", "c"]) for (let i = 0; i < POOL_PER_SLOT_MAX; i += 1) await take(slot);
    await stock();
    const { waiting, discarded } = pool.stats();
    assert.equal(waiting, POOL_TOTAL_MAX);
    assert.equal(discarded.room, POOL_PER_SLOT_MAX); // the slot nobody asked for the longest gave up its own
  });

  test("what waits uses no more memory than its bound", async () => {
    const { pool, opened, take, stock } = poolOf({ memoryBytesMax: 2 });
    for (let i = 0; i < 6; i += 1) await take();
    for (let i = 0; i < 4; i += 1) await stock();
    assert.equal(pool.stats().waiting, 2);
    assert.equal(pool.stats().memoryBytes, 2);
    for (const one of opened) one.bytes = null;
    assert.ok(pool.stats().memoryBytes > 1e6); // what is not counted is not free
  });

  test("one that turns out to use more than there is room for does not wait", async () => {
    const { pool, driver, take, stock } = poolOf({ memoryBytesMax: 50 });
    await take();
    const open = driver.open;
    driver.open = async (profile) => Object.assign(await open(profile), { bytes: 51 });
    await stock();
    assert.deepEqual([pool.stats().waiting, pool.stats().discarded.room], [0, 1]);
  });

  test("one that waited too long is thrown away, and is not made up for while nobody calls", async () => {
    const { pool, opened, take, stock } = poolOf({ ageMsMax: 20 });
    await take();
    await stock();
    await sleep(60);
    await stock();
    assert.equal(opened[1]?.closed, true);
    const { waiting, discarded } = pool.stats();
    assert.deepEqual([waiting, discarded.age, opened.length], [0, 1, 2]);
  });

  test("one that died while it waited is passed over", async () => {
    const { pool, opened, take, stock } = poolOf();
    await take();
    await stock();
    (opened[1] as FakeSandbox).alive = false;
    assert.equal((await take()).number, 2);
    assert.equal(pool.stats().discarded.died, 1);
  });

  test("a build that fails behind a call is counted, and the next call fails by itself", async () => {
    const { pool, failing, take, stock } = poolOf();
    await take();
    failing.on = true;
    await stock();
    assert.equal(pool.stats().failed, 1);
    await stock();
    assert.equal(pool.stats().failed, 1); // not over and over
    await assert.rejects(take(), /no room/);
  });

  test("closing it ends all that wait and all that are being built", async () => {
    const { pool, opened, take } = poolOf();
    for (let i = 0; i < 3; i += 1) await take();
    const used = opened.length;
    pool.restock();
    await pool[Symbol.asyncDispose]();
    assert.ok(opened.length > used);
    assert.ok(opened.slice(used).every((one) => one.closed));
    pool.restock();
    await sleep(1);
    assert.equal(pool.stats().building, 0);
  });
});

describe("a sandbox that waited", () => {
  const key = { slot: "a", profileDigest: ONE };

  test("serves a call like any other", async () => {
    await using bench = openBench();
    await using pool = new Pool();
    await using first = (await pool.take(bench.driver, bench.profile(), key)).sandbox;
    await first.release(UNCHECKED, { argv: ["true"] });
    pool.restock();
    for (let tries = 0; pool.stats().waiting === 0 && tries < 400; tries += 1) await sleep(5);
    const taken = await pool.take(bench.driver, bench.profile(), key);
    await using second = taken.sandbox;
    assert.ok(pool.stats().served === 1 && taken.waitedMs >= 0);
    assert.equal((await second.inspect()).mounts.state, "enforced");
    const ran = await second.release(UNCHECKED, { argv: ["cat", "a.txt"] });
    assert.equal(ran.outcome === "exited" && Buffer.from(ran.stdout).toString(), "hello\n");
  });

  test("does not serve once a masked file was renamed on the host: its mount came undone", async () => {
    await using bench = openBench();
    writeFileSync(join(bench.workspace, ".env"), "SECRET=1\n");
    const profile = bench.profile({ files: { read: ["."], write: [], hide: [".env"] } });
    await using pool = new Pool();
    await using first = (await pool.take(bench.driver, profile, key)).sandbox;
    pool.restock();
    for (let tries = 0; pool.stats().waiting === 0 && tries < 400; tries += 1) await sleep(5);
    renameSync(join(bench.workspace, ".env"), join(bench.workspace, ".env.old"));
    const taken = await pool.take(bench.driver, profile, key);
    await using second = taken.sandbox;
    assert.equal(pool.stats().served, 1);
    const { mounts } = await second.inspect();
    assert.equal(mounts.state, "unavailable", mounts.evidence);
    assert.match(mounts.evidence, /\.env/);
    await first.inspect();
  });
});

test("a profile with an absent protected path, or one that explains, is built when its call comes", async () => {
  await using bench = openBench();
  const { workspace } = bench;
  mkdirSync(join(workspace, "out"));
  const profile = bench.profile();
  const protecting = (path: string) => ({
    ...profile,
    files: { ...profile.files, protect: [join(workspace, path)] },
  });
  assert.equal(mayWait(profile), true);
  assert.equal(mayWait(protecting("a.txt")), true);
  assert.equal(mayWait(protecting("not-there")), false);
  assert.equal(mayWait({ ...profile, explainSyscalls: true }), false);
  assert.equal(mayWait({ ...profile, observeFiles: true }), false);
});
