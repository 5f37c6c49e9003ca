import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readChildren } from "./procfs.ts";
import { openBench, UNCHECKED } from "./sandbox.fixture.ts";

/** What this process started, or had started for it, and waits. */
function waiting(): readonly number[] {
  const below = (pid: number): readonly number[] =>
    readChildren(pid).flatMap((child) => [child, ...below(child)]);
  return below(process.pid).filter((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return words.includes("wait") || words.some((word) => word.includes("mapfile -d '' -u 5 words"));
  });
}

async function until(what: () => boolean): Promise<void> {
  for (let tries = 0; !what() && tries < 400; tries += 1) await sleep(5);
  assert.ok(what());
}

describe("seeds", () => {
  for (const [name, launcher] of [
    ["native", undefined],
    ["bash", null],
  ] as const) {
    test(`a ${name} seed becomes a sandbox like any other, and is made up for`, async () => {
      await using bench = openBench(undefined, launcher);
      bench.driver.warm(2, true);
      await until(() => waiting().length === 2);
      const ran = await bench.run(["cat", "a.txt"]);
      assert.equal(ran.stdout, "hello\n");
      for (const [control, { state, evidence }] of Object.entries(ran.controls))
        if (control !== "lsm") assert.equal(state, "enforced", `${control}: ${evidence}`);
      await until(() => waiting().length === 2);
    });
  }

  test("closing the driver ends those that wait, with their groups and descriptors", async () => {
    const before = readdirSync("/proc/self/fd").length;
    {
      await using bench = openBench();
      bench.driver.warm(3, true);
      await until(() => waiting().length === 3);
    }
    assert.deepEqual(waiting(), []);
    await until(() => readdirSync("/proc/self/fd").length <= before);
  });

  test("a seed that was killed from outside is passed over", async () => {
    await using bench = openBench();
    bench.driver.warm(1, true);
    await until(() => waiting().length === 1);
    for (const pid of waiting()) process.kill(pid, "SIGKILL");
    await sleep(50);
    assert.equal((await bench.run(["cat", "a.txt"])).stdout, "hello\n");
  });

  test("two sandboxes from seeds at once do not share a pipe, a group or a request", async () => {
    await using bench = openBench();
    bench.driver.warm(4, true);
    const sandboxes = await Promise.all(Array.from({ length: 6 }, () => bench.driver.open(bench.profile())));
    const said = await Promise.all(
      sandboxes.map(async (sandbox, index) => {
        const execution = await sandbox.release(UNCHECKED, { argv: ["echo", String(index)] });
        await sandbox[Symbol.asyncDispose]();
        return execution.outcome === "exited" ? Buffer.from(execution.stdout).toString() : execution.outcome;
      }),
    );
    assert.deepEqual(said, ["0\n", "1\n", "2\n", "3\n", "4\n", "5\n"]);
  });
});
