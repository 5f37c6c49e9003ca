import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../../../contract/errors.ts";
import { detectLimits } from "../../limits/detect.ts";
import { readChildren } from "../../procfs.ts";
import { UNCHECKED } from "../../sandbox.fixture.ts";
import { sandboxUser } from "../../user.ts";
import { OciDriver } from "./driver.ts";
import { openOciBench } from "./oci.fixture.ts";
import { findRuntime } from "./probe.ts";
import { RUNTIMES } from "./runtimes.ts";

const WAIT_MS_MAX = 20_000;

/** A program in a runtime's place: not below `/tmp`, which the stage covers. */
function impostor(script: string): { readonly program: string } & Disposable {
  const folder = mkdtempSync("/var/tmp/callgate-impostor-");
  const program = join(folder, "runtime");
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  for (const path of [folder, program]) chmodSync(path, 0o755);
  return { program, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

function descendants(pid: number): readonly number[] {
  try {
    return readChildren(pid).flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return []; // gone meanwhile
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const begun = Date.now();
  while (!holds()) {
    assert.ok(Date.now() - begun < WAIT_MS_MAX, `never: ${what}`);
    await sleep(20);
  }
}

describe("a runtime that is not there or does not work", () => {
  test("is named, with the command that installs it", async () => {
    await using bench = openOciBench("runc", { program: "/nonexistent/runc" });
    await assert.rejects(
      bench.driver.open(bench.profile()),
      (error) =>
        error instanceof GateError &&
        error.code === "ERR_DRIVER_UNAVAILABLE" &&
        error.message === "runc is not installed" &&
        error.remedy === "apt-get install runc",
    );
    assert.deepEqual(await bench.driver.probe(), {
      usable: false,
      detail: "runc is not installed",
      remedy: "apt-get install runc",
    });
  });

  test("says why in its own words, and leaves nothing", async () => {
    using fake = impostor(`echo 'time="now" level=error msg="no \\"room\\" here"' >&2; exit 1`);
    await using bench = openOciBench("runc", { program: fake.program });
    await assert.rejects(bench.driver.open(bench.profile()), (error) => {
      assert.ok(error instanceof GateError);
      assert.equal(error.code, "ERR_SANDBOX_START");
      assert.equal(error.message, 'runc could not build the sandbox: no "room" here');
      return true;
    });
    const { usable, detail } = await bench.driver.probe();
    assert.equal(usable, false);
    assert.match(detail, /no "room" here/);
    assert.deepEqual(
      readdirSync(bench.folder).filter((name) => name.startsWith("request-")),
      [],
    );
  });

  test("that builds no container but says nothing is no container either", async () => {
    using fake = impostor("exit 0");
    await using bench = openOciBench("runc", { program: fake.program });
    await assert.rejects(bench.driver.open(bench.profile()), { code: "ERR_SANDBOX_START" });
  });

  test("crun is tried for real", {
    skip: findRuntime(RUNTIMES.crun) === undefined ? "crun is not installed" : false,
  }, async () => {
    await using bench = openOciBench("crun");
    const { usable, detail } = await bench.driver.probe();
    const isHybrid =
      detectLimits().name !== "cgroup v2" && readFileSync("/proc/mounts", "utf8").includes(" cgroup2 ");
    if (isHybrid) assert.match(detail, /hybrid/);
    else assert.ok(usable, detail);
  });

  test("the host's uid 0 never enters", () => {
    const make = (): OciDriver =>
      new OciDriver({ runtime: "runc", folder: "/nonexistent", user: { uid: 0, gid: 0 } });
    assert.throws(make, { code: "ERR_INTERNAL" });
  });
});

for (const runtime of ["runc", "runsc"] as const) {
  const victim = runtime === "runc" ? /^\S*runc --root/ : /^runsc-sandbox /;
  describe(`${runtime}, ended from outside`, {
    skip: findRuntime(RUNTIMES[runtime]) === undefined ? `${runtime} is not installed` : false,
  }, () => {
    test("while a tool runs: the call says so, nothing of it lives on, the next call is unaffected", async () => {
      await using bench = openOciBench(runtime);
      await using sandbox = await bench.driver.open(bench.profile());
      const running = sandbox.release(UNCHECKED, { argv: ["sleep", "600"] });
      await sleep(200);
      const family = descendants(process.pid).filter((pid) =>
        /runc|runsc|callgate-launch|sleep 600/.test(commandOf(pid)),
      );
      const [killed] = family.filter((pid) => victim.test(commandOf(pid)));
      assert.ok(killed !== undefined, family.map(commandOf).join("\n"));
      process.kill(killed, "SIGKILL");
      const execution = await running;
      assert.ok(execution.outcome === "unstarted", execution.outcome);
      assert.match(execution.message, new RegExp(`\`sleep\` was lost: ${runtime} ended before it did`));
      await until("all of it gone", () =>
        family.every((pid) => !/runc|runsc|callgate-launch|sleep 600/.test(commandOf(pid))),
      );
      assert.equal((await bench.run(["true"])).execution.outcome, "exited");
    });

    test("while the sandbox waits: it cannot be inspected, and nothing is let in", async () => {
      await using bench = openOciBench(runtime);
      await using sandbox = await bench.driver.open(bench.profile());
      const [killed] = descendants(process.pid).filter((pid) => victim.test(commandOf(pid)));
      assert.ok(killed !== undefined);
      process.kill(killed, "SIGKILL");
      await until("it is gone", () => commandOf(killed) === "");
      // What it had started goes a moment after it.
      const refused = async (): Promise<unknown> => {
        for (let tries = 0; tries < 200; tries += 1) {
          const failure = await sandbox.inspect().then(
            () => undefined,
            (error: unknown) => error,
          );
          if (failure !== undefined) return failure;
          await sleep(5);
        }
        return undefined;
      };
      assert.equal(((await refused()) as { code?: string } | undefined)?.code, "ERR_SANDBOX_START");
    });

    test("with the gateway: nothing of the sandbox outlives it, and the next gateway finds a clean folder", async () => {
      await using bench = openOciBench(runtime);
      const script = `
        import { OciDriver } from ${JSON.stringify(new URL("./driver.ts", import.meta.url).href)};
        const driver = new OciDriver(${JSON.stringify({ runtime, folder: bench.folder, user: sandboxUser(bench.workspace) })});
        const sandbox = await driver.open(JSON.parse(process.argv[1]));
        void sandbox.release({}, { argv: ["sleep", "600"] });
        setTimeout(() => console.log("running"), 200);`;
      const gateway = spawn(
        process.execPath,
        ["--input-type=module", "-e", script, JSON.stringify(bench.profile())],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      await once(gateway.stdout, "data");
      const family = descendants(gateway.pid ?? 0);
      assert.ok(
        family.some((pid) => victim.test(commandOf(pid))),
        family.map(commandOf).join("\n"),
      );
      const before = new Map(family.map((pid) => [pid, commandOf(pid)]));
      gateway.kill("SIGKILL");
      await until("all of it gone", () =>
        family.every((pid) => commandOf(pid) !== before.get(pid) || before.get(pid) === ""),
      );
      assert.equal((await bench.run(["true"])).execution.outcome, "exited");
    });
  });
}
