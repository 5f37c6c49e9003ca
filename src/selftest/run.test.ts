import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { GateError } from "../contract/errors.ts";
import type { Execution } from "../contract/execution.ts";
import type { Driver } from "../sandbox/driver.ts";
import { openDriver } from "./open-driver.fixture.ts";
import type { Probe, Usability } from "./probe.ts";
import { bare, perl, sh } from "./program.ts";
import { holds, runSelftest, type SelftestOptions, type TargetResult } from "./run.ts";

const SHOW = (text: string): string => text;

/** Its control gets through everywhere. */
const EASY: Probe = { id: "files.easy", title: "says so", program: perl("reached('the end')") };
const NONE: readonly Usability[] = [];

/** What an execution says that is not as usual. */
type Said = Readonly<Record<string, unknown>>;

/** A driver whose sandboxes end every program in the same way. */
function answering(execution: Said | GateError, isolation: "process" | "gvisor" = "process"): Driver {
  const open = openDriver({ uid: 65_533, gid: 65_533 }, "plain");
  return {
    ...open,
    name: "answering",
    supports: { ...open.supports, isolation: [isolation] },
    open: async (profile) => {
      if (execution instanceof GateError) throw execution;
      const sandbox = await open.open(profile);
      const empty = {
        stdout: Buffer.alloc(0),
        stderr: Buffer.alloc(0),
        signal: null,
        exitCode: 0,
        usage: {},
      };
      return {
        ...sandbox,
        inspect: sandbox.inspect,
        release: async () => ({ outcome: "exited", ...empty, ...execution }) as unknown as Execution,
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
  };
}

async function first(
  driver: Driver,
  probe: Probe,
  options: Partial<SelftestOptions> = {},
): Promise<TargetResult> {
  const [result] = await runSelftest({
    show: SHOW,
    drivers: () => [driver],
    probes: [probe],
    usability: NONE,
    ...options,
  });
  assert.ok(result);
  return result;
}

async function stateOf(driver: Driver, probe: Probe): Promise<string | undefined> {
  const result = await first(driver, probe);
  // One probe alone: a run in which nothing was shown does not hold.
  assert.equal(
    holds([result]),
    result.probes.every(({ state }) => state === "held"),
  );
  return result.probes[0]?.state;
}

const said = (text: string): Said => ({ stdout: Buffer.from(text) });
const ENDED_WELL = said("began\nended\n");

describe("what a run is taken for", () => {
  test("a program that came to its end and reached nothing is held", async () => {
    assert.equal(await stateOf(answering(ENDED_WELL), EASY), "held");
  });

  test("one that says it reached something is open", async () => {
    assert.equal(await stateOf(answering(said("began\nreached the end\nended\n")), EASY), "open");
  });

  test("one that did not begin, or did not come to its end, is broken and never held", async () => {
    assert.equal(await stateOf(answering(said("")), EASY), "broken");
    assert.equal(await stateOf(answering(said("began\n")), EASY), "broken");
    assert.equal(await stateOf(answering({ outcome: "unstarted", message: "no perl" }), EASY), "broken");
    const killed = { outcome: "killed", killedBy: "wall", ...said("began\n") } as const;
    assert.equal(await stateOf(answering(killed), EASY), "broken");
  });

  test("one that may die is held by its death, if it began", async () => {
    const killed = { outcome: "killed", killedBy: "memory" } as const;
    const probe: Probe = { ...EASY, mayDie: true };
    assert.equal(await stateOf(answering({ ...killed, ...said("began\n") }), probe), "held");
    assert.equal(await stateOf(answering({ ...killed, ...said("") }), probe), "broken");
  });

  test("a driver that lets nothing in holds only where that is right", async () => {
    const refusing = answering(new GateError("ERR_SANDBOX_START", "no"));
    assert.equal(await stateOf(refusing, EASY), "broken");
    assert.equal(await stateOf(refusing, { ...EASY, mayBeRefused: true }), "held");
  });

  test("a control that does not get through is told apart, and is not held", async () => {
    const impossible: Probe = { ...EASY, program: sh("true") };
    assert.equal(await stateOf(answering(ENDED_WELL), impossible), "unshown");
    // What got through inside is open, whatever its control did.
    assert.equal(await stateOf(answering(said("began\nreached it\nended\n")), impossible), "open");
  });

  test("a stage that fails is broken, and the others go on", async () => {
    const failing: Probe = {
      ...EASY,
      id: "files.failing",
      stage: () => Promise.reject(new Error("no port")),
    };
    const { probes } = await first(answering(ENDED_WELL), failing, { probes: [failing, EASY] });
    assert.deepEqual(
      probes.map(({ state }) => state),
      ["broken", "held"],
    );
    assert.match(probes[0]?.detail ?? "", /no port/);
  });

  test("under a kernel of its own, a probe with a reason is judged by the host alone", async () => {
    const reached = answering(said("began\nreached it\nended\n"), "gvisor");
    assert.equal(await stateOf(reached, EASY), "open");
    assert.equal(await stateOf(reached, { ...EASY, ownKernel: "for a reason" }), "held");
    const changes: Probe = { ...EASY, ownKernel: "for a reason", stage: () => ({ effect: () => "changed" }) };
    assert.equal(await stateOf(reached, changes), "open");
  });

  test("processor time is the host's to count", async () => {
    const used = (cpuMs: number): Driver => answering({ ...ENDED_WELL, usage: { cpuMs } });
    const probe: Probe = { ...EASY, cpuMsMax: 1_000 };
    assert.equal(await stateOf(used(1_001), probe), "open");
    assert.equal(await stateOf(used(1_000), probe), "held");
  });

  test("a control that is not enforced lets nothing in", async () => {
    const weak = answering(ENDED_WELL);
    const driver: Driver = {
      ...weak,
      open: async (profile) => {
        const sandbox = await weak.open(profile);
        const inspect = async (): ReturnType<typeof sandbox.inspect> => {
          const controls = await sandbox.inspect();
          return { ...controls, seccomp: { state: "unavailable", basis: "verified", evidence: "mode 0" } };
        };
        return { ...sandbox, inspect, [Symbol.asyncDispose]: async () => undefined };
      },
    };
    const { probes } = await first(driver, EASY);
    assert.equal(probes[0]?.state, "broken");
    assert.match(probes[0]?.detail ?? "", /seccomp: mode 0/);
  });
});

describe("a selftest", () => {
  test("tells of a driver that is not here, tries nothing in it, and does not hold by it", async () => {
    const absent: Driver = {
      ...answering(ENDED_WELL),
      probe: async () => ({ usable: false, detail: "no runsc", remedy: "apt-get install runsc" }),
    };
    const result = await first(absent, EASY);
    assert.deepEqual(
      [result.usable, result.detail, result.remedy, result.probes, result.usability],
      [false, "no runsc", "apt-get install runsc", [], []],
    );
    assert.equal(holds([result]), false);
    assert.equal(holds([result, await first(answering(ENDED_WELL), EASY)]), true);
    assert.equal(holds([]), false);
  });

  test("runs a control once, however many drivers there are", async () => {
    let stages = 0;
    const stage = (): { args: string[] } => {
      stages += 1;
      return { args: [] };
    };
    const counted: Probe = { ...EASY, stage };
    const drivers = (): Driver[] => [answering(ENDED_WELL), answering(ENDED_WELL), answering(ENDED_WELL)];
    await runSelftest({ show: SHOW, drivers, probes: [counted], usability: NONE });
    assert.equal(stages, 1 + 3);
  });

  describe("probes that only look", () => {
    const reaches: Probe = { ...EASY, id: "files.reaches", together: "group" };
    const fails: Probe = { ...reaches, id: "files.fails", program: sh("exit 3") };
    const states = async (driver: Driver): Promise<readonly (readonly [string, number])[]> => {
      let opened = 0;
      const counting: Driver = {
        ...driver,
        open: (profile) => {
          opened += 1;
          return driver.open(profile);
        },
      };
      const { probes } = await first(counting, reaches, { probes: [reaches, fails] });
      return probes.map(({ state }) => [state, opened]);
    };

    test("share a sandbox, and each is judged by what it said itself", async () => {
      const open = openDriver({ uid: 65_533, gid: 65_533 }, "plain");
      // One is for the diagnosis.
      assert.deepEqual(await states(open), [
        ["open", 2],
        ["broken", 2],
      ]);
    });

    test("are run alone where not all of them came to their end", async () => {
      assert.deepEqual(await states(answering(ENDED_WELL)), [
        ["held", 4],
        ["unshown", 4],
      ]);
    });
  });

  test("has at most four probes under way", async () => {
    let [now, most] = [0, 0];
    const held = { began: 0, release: () => {} };
    const all = new Promise<void>((done) => {
      held.release = done;
    });
    const probes = Array.from(
      { length: 9 },
      (_, index): Probe => ({
        ...EASY,
        id: `files.n${index}`,
        stage: async () => {
          now += 1;
          most = Math.max(most, now);
          held.began += 1;
          if (held.began === 4) held.release();
          await all;
          now -= 1;
          return {};
        },
      }),
    );
    await first(answering(ENDED_WELL), EASY, { probes });
    assert.equal(most, 4);
  });

  test("a usability probe fails when its program does not do inside what it should", async () => {
    const use: Usability = {
      id: "usability.x",
      title: "says x",
      program: bare("echo x"),
      complaint: ({ stdout }) => (stdout.toString() === "x\n" ? undefined : "it did not say x"),
    };
    const missing: Usability = {
      ...use,
      id: "usability.y",
      program: bare("no-such-program"),
      ifInstalled: true,
    };
    const usability = [use, missing];
    const wrong = await first(answering(ENDED_WELL), EASY, { usability });
    assert.deepEqual(
      wrong.usability.map(({ state }) => state),
      ["fails", "untried"],
    );
    assert.equal(holds([wrong]), false);
    const right = await first(
      answering(said("x\n")),
      { ...EASY, program: sh("true") },
      { probes: [], usability },
    );
    assert.deepEqual(
      right.usability.map(({ state }) => state),
      ["works", "untried"],
    );
    assert.equal(holds([right]), true);
  });

  test("stops between probes when it is cancelled, and cleans up", async () => {
    const cancel = new AbortController();
    let base = "";
    const probe: Probe = {
      ...EASY,
      stage: (scene) => {
        base = scene.base;
        cancel.abort(new Error("enough"));
        return {};
      },
    };
    const probes = Array.from({ length: 20 }, () => probe);
    await assert.rejects(first(answering(ENDED_WELL), probe, { probes, signal: cancel.signal }), /enough/);
    assert.ok(base !== "" && !existsSync(base));
  });

  test("counts every step aloud, and leaves nothing behind", async () => {
    const steps: string[] = [];
    let base = "";
    const probe: Probe = {
      ...EASY,
      stage: (scene) => {
        base = scene.base;
        return {};
      },
    };
    await first(answering(ENDED_WELL), probe, {
      probes: [probe, EASY],
      onProgress: ({ driver, done, all }) => steps.push(`${driver} ${done}/${all}`),
    });
    assert.deepEqual(steps, ["answering 1/2", "answering 2/2"]);
    assert.ok(base !== "" && !existsSync(base));
    assert.ok(!readdirSync("/dev/shm").some((name) => name.startsWith("callgate-selftest-")));
  });
});
