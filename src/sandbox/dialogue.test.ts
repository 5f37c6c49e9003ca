import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Dialogue } from "./dialogue.ts";

/** What it has given by now. */
async function soFar<T>(promise: Promise<T>): Promise<T | "nothing"> {
  return await Promise.race([promise, sleep(5).then(() => "nothing" as const)]);
}

for (const first of ["the launcher", "bubblewrap"]) {
  test(`ready is known by whom when both have spoken, ${first} first`, async () => {
    const [channel, aside] = [new PassThrough(), new PassThrough()];
    const { readyAs } = new Dialogue(channel, aside);
    const speak = [
      (): boolean => channel.write("C38\nR\n"),
      (): boolean => aside.write('{\n    "child-pid": 4711'),
    ];
    const [one, other] = first === "the launcher" ? speak : speak.toReversed();
    one?.();
    assert.equal(await soFar(readyAs), "nothing");
    other?.();
    assert.equal(await soFar(readyAs), "nothing", "there may be more digits to come");
    aside.write("0\n}\n");
    assert.equal(await readyAs, 47_110);
  });
}

test("half a line says nothing yet", async () => {
  const channel = new PassThrough();
  const { ended } = new Dialogue(channel);
  channel.write("R\nZ1");
  assert.equal(await soFar(ended), "nothing");
  channel.write("37\n");
  assert.equal(await ended, 137);
});

test("last words are waited for, until nobody speaks any more", async () => {
  const channel = new PassThrough();
  const dialogue = new Dialogue(channel);
  const heard = dialogue.lastWords().then(() => dialogue.startFailure?.errno);
  assert.equal(await soFar(heard), "nothing");
  channel.end("X2\n");
  await once(channel, "close");
  assert.equal(await heard, "ENOENT");
});

test("who goes on speaking is not waited for without end", async () => {
  const dialogue = new Dialogue(new PassThrough());
  await dialogue.lastWords();
  assert.equal(dialogue.startFailure, undefined);
});
