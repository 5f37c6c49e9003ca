import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { RlimitBackend } from "./limits/rlimit.ts";
import { Seed } from "./seed.ts";
import type { Starter } from "./starter.ts";

/** Discards a seed whose process never was one. @returns what became of its pipes. */
async function fateOfPipes(isAlive: boolean, isRead: boolean): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-seed-"));
  const fates: string[] = [];
  const pipes = [0, 1, 2].map((number) => {
    const path = join(folder, String(number));
    execFileSync("mkfifo", [path]);
    return { path, release: () => void fates.push("released"), retire: () => void fates.push("retired") };
  });
  const channel = new PassThrough();
  const started = {
    pid: process.pid,
    channel,
    voices: [channel],
    exited: Promise.resolve(0),
    kill: () => {},
  };
  const starter = { start: async () => ({ ...started, isAlive: () => isAlive }) } as unknown as Starter;
  const group = new RlimitBackend().create();
  const seed = await Seed.plant({
    ...{ group, pipes, starter, files: [], launcher: undefined },
    requestPath: join(folder, "request"),
  });
  if (isRead) for (const stream of Object.values(seed.attach())) stream.destroy();
  await seed.discard();
  rmSync(folder, { recursive: true });
  return fates;
}

test("pipes go to other calls only where nobody can hold an end of them any more", async () => {
  const all = (fate: string): readonly string[] => [fate, fate, fate];
  assert.deepEqual(await fateOfPipes(false, false), all("released"));
  assert.deepEqual(await fateOfPipes(true, false), all("retired"));
  // Given up before its output had come to an end.
  assert.deepEqual(await fateOfPipes(false, true), all("retired"));
});
