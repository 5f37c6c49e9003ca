import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Profile } from "../contract/profile.ts";
import { type Cell, CellSandbox, CLEAR_MS_MAX } from "./cell.ts";
import { RlimitBackend } from "./limits/rlimit.ts";
import { openBench, UNCHECKED } from "./sandbox.fixture.ts";

async function profileWith(wallMs: number): Promise<Profile> {
  await using bench = openBench();
  return bench.profile({}, { wallMs });
}

/** A cell that never was a process. */
async function fakeCell(over: Partial<Cell> & { readonly wallMs?: number }) {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  const cell = {
    profile: await profileWith(over.wallMs ?? 10_000),
    group: new RlimitBackend().create(),
    inspect: async () => ({}) as never,
    attach: () => streams,
    letGo: () => {},
    exited: Promise.resolve(0),
    startFailure: () => undefined,
    kill: () => {
      for (const stream of [streams.stdout, streams.stderr]) stream.end();
    },
    cleared: async () => {},
    dispose: async () => {},
    ...over,
  } as Cell;
  return { streams, sandbox: new CellSandbox("fake", cell) };
}

describe("the life of a sandbox", () => {
  test("a request that cannot be handed over leaves nothing that reads or feeds its pipes", async () => {
    const { streams, sandbox } = await fakeCell({
      letGo: () => {
        throw new Error("no space left on device");
      },
    });
    const stdin = new PassThrough();
    await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"], stdin }), /no space left/);
    for (const stream of Object.values(streams)) assert.ok(stream.destroyed);
    stdin.write("late");
    await sleep(5);
    assert.equal(streams.stdin.read(), null);
  });

  test("time that passes after the tool's end does not end it", async () => {
    const { sandbox, streams } = await fakeCell({
      wallMs: 40,
      kill: () => void setTimeout(() => [streams.stdout, streams.stderr].map((stream) => stream.end()), 120),
    });
    const execution = await sandbox.release(UNCHECKED, { argv: ["true"] });
    assert.equal(execution.outcome, "exited");
  });

  test("a tool that was killed and does not go is told of in the time that a kill may take", async () => {
    const { sandbox } = await fakeCell({ wallMs: 30, exited: new Promise(() => {}) });
    const started = performance.now();
    const execution = await sandbox.release(UNCHECKED, { argv: ["true"] });
    assert.equal(execution.outcome === "killed" && execution.killedBy, "wall");
    assert.ok(performance.now() - started < 3 * CLEAR_MS_MAX);
  });

  test("processor time that building took does not end the tool", async () => {
    let met: "cpu" | null = "cpu";
    const group = Object.assign(new RlimitBackend().create(), {
      begin: () => {
        met = null;
      },
      breached: () => met,
    });
    const { sandbox } = await fakeCell({ group });
    const execution = await sandbox.release(UNCHECKED, { argv: ["true"] });
    assert.equal(execution.outcome, "exited");
  });

  test("an end that nobody saw is not called the tool's own", async () => {
    const { sandbox } = await fakeCell({ exited: Promise.resolve(null) });
    await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"] }), /lost before the tool's end/);
  });
});
