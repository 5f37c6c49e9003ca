import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GateError } from "../../../contract/errors.ts";
import type { ControlName } from "../../../contract/tier.ts";
import { UNCHECKED } from "../../sandbox.fixture.ts";
import {
  type Daemon,
  type DockerBench,
  leaveOut,
  leftIn,
  openDockerBench,
  startDaemon,
  whyNoDaemon,
} from "./docker.fixture.ts";

const missing = whyNoDaemon();
const UNTIL_MS_MAX = 15_000;
const NOWHERE = `sha256:${"0".repeat(64)}`;

describe("what cannot be had is refused by name", { skip: missing ?? false }, () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(async () => {
    await daemon[Symbol.asyncDispose]();
  });

  const refuses = async (
    bench: DockerBench,
    code: string,
    message: RegExp,
    remedy: RegExp,
  ): Promise<void> => {
    await assert.rejects(bench.driver.open(bench.profile()), (error) => {
      assert.ok(error instanceof GateError);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.match(error.remedy ?? "", remedy);
      return true;
    });
  };

  test("no image, an image by tag, an image that is not there: none is pulled", async () => {
    const { image: _, ...without } = daemon;
    await using none = openDockerBench({ ...without, image: undefined });
    await refuses(
      none,
      "ERR_CONTROL_UNAVAILABLE",
      /needs an image, and none is named/,
      /sandbox\.docker\.image/,
    );
    await using tagged = openDockerBench({ ...daemon, image: "debian:12" });
    await refuses(tagged, "ERR_CONTROL_UNAVAILABLE", /`debian:12` does not name/, /NAME@sha256/);
    await using absent = openDockerBench({ ...daemon, image: `debian@${NOWHERE}` });
    await refuses(
      absent,
      "ERR_CONTROL_UNAVAILABLE",
      /no image `debian@sha256:0+`/,
      /^docker pull debian@sha256:0+$/,
    );
  });

  test("a runtime that is not known to us, and one that the daemon has not got", async () => {
    await using unknown = openDockerBench(daemon, { runtime: "runsc" });
    await refuses(
      unknown,
      "ERR_DRIVER_UNAVAILABLE",
      /`runsc` isolates cannot be verified/,
      /`gvisor` isolation/,
    );
    await using absent = openDockerBench(daemon, { runtime: "crun" });
    await refuses(absent, "ERR_DRIVER_UNAVAILABLE", /has no runtime `crun`/, /daemon\.json/);
    const { usable, detail, remedy } = await absent.driver.probe();
    assert.equal(usable, false);
    assert.match(`${detail} ${remedy}`, /no runtime `crun`.*daemon\.json/);
  });

  test("a root file system that is a folder, and a grant with the daemon's socket in it", async () => {
    await using bench = openDockerBench(daemon);
    const folder = { ...bench.profile(), root: { from: "folder", path: "/srv" } } as const;
    await assert.rejects(bench.driver.open(folder), { code: "ERR_CONTROL_UNAVAILABLE", message: /a folder/ });
    const around = bench.profile();
    const read = [join(daemon.socket, "..")];
    await assert.rejects(bench.driver.open({ ...around, files: { ...around.files, read } }), {
      code: "ERR_CONTROL_UNAVAILABLE",
      message: /daemon's socket/,
    });
  });

  test("what the daemon refuses is told in its words, nothing is left, and the next call is unaffected", async () => {
    await using bench = openDockerBench(daemon);
    mkdirSync(join(bench.workspace, "gone"));
    const profile = bench.profile({ files: { read: ["gone"], write: [], hide: [] } });
    rmSync(join(bench.workspace, "gone"), { recursive: true });
    await assert.rejects(bench.driver.open(profile), {
      code: "ERR_SANDBOX_START",
      message: /bind source path does not exist: .*\/gone/,
    });
    assert.deepEqual(await daemon.containers(), []);
    assert.deepEqual(leftIn(bench), []);
    assert.equal((await bench.run(["echo", "on"])).stdout, "on\n");
  });

  const omissions: readonly [field: string, lost: readonly ControlName[]][] = [
    ["SecurityOpt", ["seccomp", "no_new_privs"]],
    ["CapDrop", ["capabilities"]],
    ["ReadonlyRootfs", ["read_only_root", "mounts"]],
    ["MaskedPaths", ["mounts"]],
    ["Memory", ["memory"]],
  ];
  for (const [field, lost] of omissions) {
    test(`a daemon that does not do as \`${field}\` says is found out by what the kernel says`, async () => {
      await using lax = await leaveOut(field, daemon);
      await using bench = openDockerBench(lax);
      await using sandbox = await bench.driver.open(bench.profile({ treeLimits: false }));
      const controls = await sandbox.inspect();
      const states = lost.map((name) => `${name} ${controls[name].state}`);
      assert.deepEqual(
        states,
        lost.map((name) => `${name} unavailable`),
      );
    });
  }

  test("root's containers never get as far as a launcher: the pipes are another user's", async () => {
    await using lax = await leaveOut("User", daemon);
    await using bench = openDockerBench(lax);
    await refuses(bench, "ERR_SANDBOX_START", /its first process ended with 1/, /doctor/);
  });

  test("a tier that needs a bounded tree gets none that the kernel does not confirm", async () => {
    await using lax = await leaveOut("PidsLimit", daemon);
    await using bench = openDockerBench(lax);
    await refuses(
      bench,
      "ERR_CONTROL_UNAVAILABLE",
      /does not bound processes \(.*pids\.max NaN\)/,
      /docker info/,
    );
    assert.deepEqual(leftIn(bench), []);
  });

  test("a container and the tool in it end with their gateway, and the next gateway removes it", async () => {
    await using bench = openDockerBench(daemon);
    const gateway = spawn(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        GATEWAY,
        JSON.stringify({
          options: {
            folder: bench.folder,
            user: bench.user,
            settings: { socket: daemon.socket, image: daemon.image, runtime: "runc" },
          },
          profile: bench.profile(),
        }),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await Promise.race([once(gateway.stdout, "data"), once(gateway, "exit")]);
    assert.equal(gateway.exitCode, null);
    const [orphan] = await daemon.containers();
    assert.ok(orphan !== undefined);
    // Another gateway that starts meanwhile leaves it alone.
    await using other = openDockerBench(daemon);
    await other.run(["true"]);
    await other.driver[Symbol.asyncDispose]();
    assert.deepEqual(await daemon.containers(), [orphan]);
    gateway.kill("SIGKILL");
    await once(gateway, "exit");
    await until(async () => !(await daemon.isRunning(orphan)));
    assert.equal(leftIn(bench).length, 1);
    await using next = openDockerBench(daemon, {}, bench.folder);
    await next.run(["true"]);
    await next.driver[Symbol.asyncDispose]();
    assert.deepEqual(await daemon.containers(), []);
    assert.deepEqual(leftIn(bench), []);
  });

  test("a daemon that dies under a call is no part of it; the next call says so, and the one after a restart runs", async () => {
    await using bench = openDockerBench(daemon);
    await using sandbox = await bench.driver.open(bench.profile());
    const script = "echo begun; sleep 0.5; cat a.txt; exit 4";
    const begun = Promise.withResolvers<void>();
    const ending = sandbox.release(
      UNCHECKED,
      { argv: ["sh", "-c", script] },
      { onOutput: () => begun.resolve() },
    );
    await begun.promise;
    await daemon.crash();
    const execution = await ending;
    assert.equal(execution.outcome === "exited" && execution.exitCode, 4);
    await sandbox[Symbol.asyncDispose]();
    assert.deepEqual(leftIn(bench), []);
    await refuses(bench, "ERR_DRIVER_UNAVAILABLE", /does not answer/, /systemctl start docker/);
    assert.equal((await bench.driver.probe()).usable, false);
    await using late = openDockerBench(daemon);
    await refuses(late, "ERR_DRIVER_UNAVAILABLE", /does not answer/, /systemctl start docker/);
    await daemon.restart();
    for (const each of [bench, late]) assert.equal((await each.run(["echo", "on"])).stdout, "on\n");
    await late.driver[Symbol.asyncDispose]();
    await bench.driver[Symbol.asyncDispose]();
    assert.deepEqual(await daemon.containers(), []);
  });
});

/** Lets a tool in, says so, and waits to be killed. */
const GATEWAY = `
  import { DockerDriver } from ${JSON.stringify(new URL("./driver.ts", import.meta.url).href)};
  const { options, profile } = JSON.parse(process.argv[1]);
  const sandbox = await new DockerDriver(options).open(profile);
  const onOutput = () => console.log("begun");
  await sandbox.release({}, { argv: ["sh", "-c", "echo; sleep 300"] }, { onOutput });`;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + UNTIL_MS_MAX;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `not within ${UNTIL_MS_MAX} ms`);
    await sleep(20);
  }
}
