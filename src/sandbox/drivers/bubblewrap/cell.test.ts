import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Dialogue } from "../../dialogue.ts";
import { RlimitBackend } from "../../limits/rlimit.ts";
import type { Seed } from "../../seed.ts";
import { BubblewrapCell, type Parts } from "./cell.ts";

const PARTS = { staging: [], plan: { args: [], late: [], launcherIsFirst: true } } as unknown as Parts;

test("an exit that is told before the launcher's last words waits for them", async () => {
  const [channel, aside] = [new PassThrough(), new PassThrough()];
  const exited = Promise.withResolvers<number>();
  // This process stands for the sandbox's first one, which is looked up.
  const seed = {
    dialogue: new Dialogue(channel, aside),
    exited: exited.promise,
    group: new RlimitBackend().create(),
    become: () => {
      aside.end(`{ "child-pid": ${process.pid} }`);
      channel.write("C38\nR\n");
    },
    entered: async () => {},
  } as unknown as Seed;
  const cell = await BubblewrapCell.start(seed, PARTS);
  exited.resolve(127);
  void sleep(20).then(() => channel.end("E127\n"));
  assert.equal(await cell.exited, 127);
  assert.deepEqual(cell.startFailure(), { why: "was not found" });
});
