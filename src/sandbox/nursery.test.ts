import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Nursery } from "./nursery.ts";

class Thing {
  alive = true;
  readonly number: number;
  constructor(number: number) {
    this.number = number;
  }
}

function things(): { nursery: Nursery<Thing>; made: Thing[]; discarded: Thing[]; failing: { on: boolean } } {
  const made: Thing[] = [];
  const discarded: Thing[] = [];
  const failing = { on: false };
  const nursery = new Nursery<Thing>({
    make: async () => {
      if (failing.on) throw new Error("no room");
      const thing = new Thing(made.length);
      made.push(thing);
      return thing;
    },
    discard: async (thing) => void discarded.push(thing),
  });
  return { nursery, made, discarded, failing };
}

test("without being told to keep any, it makes one when it is asked", async () => {
  const { nursery, made } = things();
  assert.equal((await nursery.take()).number, 0);
  await nextTurn();
  assert.equal(made.length, 1);
});

test("keeps as many as it is told, hands out the oldest, and makes up for it afterwards", async () => {
  const { nursery, made } = things();
  nursery.warm(2, true);
  await nextTurn();
  assert.equal(made.length, 2);
  assert.equal((await nursery.take()).number, 0);
  assert.equal(made.length, 2); // not on the path of whoever took it
  await nextTurn();
  await nextTurn();
  assert.equal(made.length, 3);
});

test("for a single use it makes them once and no more", async () => {
  const { nursery, made } = things();
  nursery.warm(1, false);
  assert.equal((await nursery.take()).number, 0);
  await nextTurn();
  await nextTurn();
  assert.equal(made.length, 1);
});

test("one whose process is gone is discarded and passed over", async () => {
  const { nursery, made, discarded } = things();
  nursery.warm(2, true);
  await nextTurn();
  (made[0] as Thing).alive = false;
  assert.equal((await nursery.take()).number, 1);
  assert.deepEqual(discarded, [made[0]]);
});

test("what could not be made ahead is made, or fails, for the one who asks", async () => {
  const { nursery, failing } = things();
  failing.on = true;
  nursery.warm(1, true);
  await nextTurn();
  await assert.rejects(nursery.take(), /no room/);
  failing.on = false;
  assert.equal((await nursery.take()).number, 0);
  await nextTurn();
  await nextTurn();
  assert.equal((await nursery.take()).number, 1); // and it is filled again
});

test("closing it ends what is left, and nothing is made afterwards", async () => {
  const { nursery, made, discarded } = things();
  nursery.warm(3, true);
  await nextTurn();
  await nursery.take();
  await nursery[Symbol.asyncDispose]();
  await nextTurn();
  assert.deepEqual(
    discarded.map((thing) => thing.number),
    [1, 2],
  );
  assert.equal(made.length, 3);
});
