import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { stateDir } from "./log.fixture.ts";
import { openLog } from "./log.ts";
import { isAlive, thisSession } from "./session.ts";
import { verifyLog } from "./verify.ts";
import { RemoteWriter } from "./writer-remote.ts";

const FIXTURE = join(import.meta.dirname, "processes.fixture.ts");

function start(what: string, dir: string, mode: string, number = 0): ChildProcess {
  const flags = ["--disable-warning=ExperimentalWarning", FIXTURE, what, dir, mode, String(number)];
  return spawn(process.execPath, flags, { stdio: ["pipe", "pipe", "inherit"] });
}

/** The first line a gateway prints. */
async function firstLine(child: ChildProcess): Promise<unknown> {
  assert.ok(child.stdout);
  for await (const line of createInterface(child.stdout)) return JSON.parse(line);
  return undefined;
}

async function run(what: string, dir: string, mode: string, number = 0): Promise<unknown> {
  const child = start(what, dir, mode, number);
  const exit = once(child, "exit");
  const line = await firstLine(child);
  const [code] = await exit;
  assert.ok(code === 0 || what === "die", `${what} exited with ${code}`);
  return line;
}

test("several gateways that start at once on an empty folder share one log, which verifies", async (t) => {
  const dir = stateDir(t);
  const calls = 25;
  const modes = ["inline", "worker", "inline", "worker", "inline"];
  const indexes = (await Promise.all(modes.map((mode) => run("append", dir, mode, calls)))) as number[][];
  const all = indexes.flat();
  assert.equal(new Set(all).size, modes.length * 3 * calls * 2, "no index was given twice");
  await using log = await openLog({ stateDir: dir, mode: "inline" });
  const { size, problems } = verifyLog(dir, log.verifierKey);
  assert.deepEqual(problems, []);
  assert.equal(size, 1 + modes.length * 3 * calls * 3);
  assert.deepEqual(await log.recover(), []);
});

test("several gateways take no more uses than there are", async (t) => {
  const dir = stateDir(t);
  const taken = await Promise.all(
    ["inline", "worker", "inline", "worker"].map((mode) => run("takeSpends", dir, mode, 20)),
  );
  assert.equal(
    (taken as number[]).reduce((sum, each) => sum + each),
    25,
  );
  await using log = await openLog({ stateDir: dir, mode: "inline" });
  assert.equal(await log.size(), 26);
});

for (const mode of ["inline", "worker"]) {
  test(`${mode}: the call of a gateway that died is recovered once, that of a living one is left alone`, async (t) => {
    const dir = stateDir(t);
    const living = start("linger", dir, mode);
    const lives = await firstLine(living);
    const died = await run("die", dir, mode);
    const recovered = (
      await Promise.all([run("recover", dir, "inline"), run("recover", dir, "worker")])
    ).flat();
    assert.deepEqual(
      recovered.map((each) => (each as { call: unknown }).call),
      [died],
    );
    living.stdin?.end();
    const [code] = await once(living, "exit");
    assert.equal(code, 0);
    await using log = await openLog({ stateDir: dir, mode: "inline" });
    assert.deepEqual(await log.recover(), []);
    const kinds = (await log.scan())
      .filter(({ entry }) => entry["call"] !== undefined)
      .map(({ entry }) => [entry["kind"], entry["call"]]);
    assert.deepEqual(kinds, [
      ["intent", lives],
      ["intent", died],
      ["recovered", died],
      ["outcome", lives],
    ]);
    assert.deepEqual(verifyLog(dir, log.verifierKey).problems, []);
  });

  test(`${mode}: a log that nobody closed does not keep its process alive`, async (t) => {
    const dir = stateDir(t);
    assert.equal(await run("leave", dir, mode), 2);
    await using log = await openLog({ stateDir: dir, mode: "inline" });
    assert.equal(await log.size(), 2);
  });
}

test("of two gateways that find the same dead call, one recovers it", async (t) => {
  const dir = stateDir(t);
  await run("die", dir, "inline");
  await using one = await openLog({ stateDir: dir, mode: "inline" });
  await using two = await openLog({ stateDir: dir, mode: "inline" });
  // Both have listed it before either commits.
  const recovered = (await Promise.all([one.recover(), two.recover()])).flat();
  assert.equal(recovered.length, 1);
  assert.equal(await one.size(), 4);
});

test("a writer's thread that cannot open the folder says why to every request", async (t) => {
  const dir = stateDir(t);
  await (await openLog({ stateDir: dir, mode: "inline" })).close();
  const start = {
    stateDir: dir,
    origin: "callgate.local/x",
    session: thisSession(),
    size: 9,
    root: new Uint8Array(32),
  };
  rmSync(join(dir, "log.key"));
  const writer = new RemoteWriter(start);
  const empty = { nowMs: 0, appends: [] };
  await assert.rejects(writer.commit(empty), { code: "ERR_KEY_MISSING", remedy: /backup/ });
  await assert.rejects(writer.memoPut("k", "v"), { code: "ERR_KEY_MISSING" });
  await assert.rejects(writer.close(), { code: "ERR_KEY_MISSING" });
  await assert.rejects(writer.commit(empty), { code: "ERR_INTERNAL" });
});

test("a process that ended and that nobody has waited for is dead", async () => {
  // The shell starts a child that ends soon, but not before it has become a program that never waits for it.
  const parent = spawn("sh", ["-c", "sleep 0.3 & echo $!; exec sleep 60"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = Number(await firstLine(parent));
  let state = "";
  let ticks = "";
  while (state !== "Z") {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    [state = "", ticks = ""] = [fields[0], fields[19]];
    await sleep(10);
  }
  const [boot] = thisSession().split(":");
  assert.ok(!isAlive(`${boot}:${pid}:${ticks}`));
  parent.kill("SIGKILL");
});

test("a session is one process: another start, another boot or an ended process is not it", () => {
  const session = thisSession();
  const [boot, pid, ticks] = session.split(":");
  assert.ok(isAlive(session));
  assert.ok(!isAlive(`${boot}:${pid}:${Number(ticks) + 1}`));
  assert.ok(!isAlive(`another-boot:${pid}:${ticks}`));
  assert.ok(!isAlive(`${boot}:4194305:${ticks}`));
  assert.ok(!isAlive(`${boot}:${pid}`));
  assert.ok(!isAlive(""));
});
