import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { nativeProgram } from "./native.ts";
import { isAlive, readChildren } from "./procfs.ts";
import { createStarter, type Started, type StartSpec } from "./starter.ts";

const KINDS = [
  ["native", nativeProgram("starter") ?? "not built"],
  ["local", null],
] as const;

/** Waits for its end. @returns its exit code. */
async function ended({ exited, channel }: Started): Promise<number | null> {
  const code = await exited;
  channel.destroy();
  return code;
}

for (const [name, program] of KINDS) {
  describe(`the ${name} starter`, { skip: program === "not built" && "not built: no cc" }, () => {
    let folder = "";
    before(() => {
      // Longer than a socket's path may be (unix(7)).
      folder = mkdtempSync(join(tmpdir(), `callgate-starter-${"x".repeat(100)}-`));
    });
    after(() => rmSync(folder, { recursive: true }));

    const spec = (script: string, files: StartSpec["files"] = new Map()): StartSpec => ({
      argv: ["/bin/sh", "-c", script],
      files,
      channel: 3,
      aside: 4,
    });
    const output = (started: Started): (() => string) => {
      let said = "";
      for (const voice of started.voices) {
        voice.on("data", (chunk: Buffer) => (said += chunk));
        voice.resume();
      }
      return () => said;
    };

    test("speaks on its channel both ways, and ends with the program's exit code", async () => {
      await using starter = createStarter(folder, program);
      const started = await starter.start(
        spec("read -r line <&3; echo got $line >&3; echo aside >&4; exit 7"),
      );
      const said = output(started);
      assert.ok(started.isAlive() && isAlive(started.pid));
      started.channel.write("hello\n");
      assert.equal(await started.exited, 7);
      await sleep(20);
      started.channel.destroy();
      assert.match(said(), /got hello\n/);
      assert.match(said(), /aside\n/);
      assert.equal(started.isAlive(), false);
    });

    test("opens what it is told to, and nothing else gets in: no descriptor, no variable", async () => {
      await using starter = createStarter(folder, program);
      const [input, result] = [join(folder, "in"), join(folder, "out")];
      writeFileSync(input, "content");
      writeFileSync(result, "");
      writeFileSync(join(folder, "err"), "");
      const files = new Map([
        [0, { path: input, access: "r" }],
        [1, { path: result, access: "w" }],
        [2, { path: join(folder, "err"), access: "w" }],
      ] as const);
      const run = async (argv: readonly string[]): Promise<readonly string[]> => {
        writeFileSync(result, "");
        await ended(await starter.start({ ...spec(""), files, argv }));
        return readFileSync(result, "utf8").trim().split("\n");
      };
      assert.deepEqual(await run(["/bin/cat"]), ["content"]);
      assert.deepEqual(await run(["/usr/bin/env"]), [""]);
      assert.deepEqual(await run(["/bin/pwd"]), ["/"]);
      // Without the folder that ls reads, and what covers descriptors of this process.
      const open = (await run(["/bin/ls", "-l", "/proc/self/fd"])).filter(
        (line) => !/-> \/(?:proc|dev\/null)/.test(line),
      );
      assert.deepEqual(
        open.flatMap((line) => / (\d+) ->/.exec(line)?.[1] ?? []),
        ["0", "1", "2", "3", "4"],
      );
    });

    test("kills, and tells of a signal", async () => {
      await using starter = createStarter(folder, program);
      const started = await starter.start(spec("exec sleep 60"));
      started.kill();
      assert.ok([137, null].includes(await ended(started)));
      started.kill();
    });

    test("many at once are told apart", async () => {
      await using starter = createStarter(folder, program);
      const codes = await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const started = await starter.start(spec(`read -r code <&3; exit $code`));
          started.channel.write(`${index}\n`);
          return await ended(started);
        }),
      );
      assert.deepEqual(
        codes,
        Array.from({ length: 20 }, (_, index) => index),
      );
    });

    test("a file that is not there is named", async () => {
      await using starter = createStarter(folder, program);
      const missing = join(folder, "missing");
      await assert.rejects(
        starter.start(spec("true", new Map([[0, { path: missing, access: "r" }]]))),
        /missing/,
      );
      assert.equal(await ended(await starter.start(spec("exit 3"))), 3); // the next one is unaffected
    });
  });
}

describe("only the native starter", {
  skip: nativeProgram("starter") === undefined && "not built: no cc",
}, () => {
  test("ends with the gateway, killed though it was, and what waits ends with it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    const module = new URL("./starter.ts", import.meta.url).href;
    const script = `
      const { createStarter } = await import(${JSON.stringify(module)});
      const starter = createStarter(${JSON.stringify(folder)});
      const { pid } = await starter.start({ argv: ["/bin/sh", "-c", "read -r line <&3"], files: new Map(), channel: 3, aside: 4 });
      console.log(pid);
      process.kill(process.pid, "SIGKILL");`;
    const { stdout } = spawnSync(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script],
      { encoding: "utf8" },
    );
    const pid = Number(stdout);
    assert.ok(pid > 0);
    for (let tries = 0; isAlive(pid) && tries < 400; tries += 1) await sleep(5);
    assert.equal(isAlive(pid), false);
    // What it left in the folder goes at the next start.
    assert.equal(readdirSync(folder).length, 1);
    await createStarter(folder)[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(folder), []);
    rmSync(folder, { recursive: true });
  });

  test("a starter that dies fails what it had under way, and the next start has a new one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    await using starter = createStarter(folder);
    const spec: StartSpec = {
      argv: ["/bin/sh", "-c", "read -r line <&3; exit 5"],
      files: new Map(),
      channel: 3,
      aside: 4,
    };
    const started = await starter.start(spec);
    const [own] = readChildren(process.pid).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("starter-"),
    );
    process.kill(own ?? 0, "SIGKILL");
    assert.equal(await ended(started), null);
    assert.equal(started.isAlive(), false);
    const next = await starter.start(spec);
    next.channel.write("\n");
    assert.equal(await ended(next), 5);
    rmSync(folder, { recursive: true });
  });

  test("one that stands still is given up: the start fails, closing ends, and nothing of it is left", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    const spec: StartSpec = { argv: ["/bin/sh", "-c", "exit 5"], files: new Map(), channel: 3, aside: 4 };
    const descriptors = readdirSync("/proc/self/fd").length;
    {
      await using starter = createStarter(folder);
      assert.equal(await ended(await starter.start(spec)), 5);
      const [own] = readChildren(process.pid).filter((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("starter-"),
      );
      process.kill(own ?? 0, "SIGSTOP");
      await assert.rejects(starter.start(spec), /does not answer/);
      assert.equal(await ended(await starter.start(spec)), 5);
    }
    assert.deepEqual(readdirSync(folder), []);
    assert.ok(readdirSync("/proc/self/fd").length <= descriptors);
    rmSync(folder, { recursive: true });
  });

  test("what was in the way once is tried again", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    await using starter = createStarter(join(folder, "run"));
    rmSync(join(folder, "run"), { recursive: true });
    writeFileSync(join(folder, "run"), "in the way");
    const spec: StartSpec = { argv: ["/bin/sh", "-c", "exit 5"], files: new Map(), channel: 3, aside: 4 };
    await assert.rejects(starter.start(spec));
    rmSync(join(folder, "run"));
    assert.equal(await ended(await starter.start(spec)), 5);
    rmSync(folder, { recursive: true });
  });

  test("the gateway ends by itself once nothing is under way", () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    const module = new URL("./starter.ts", import.meta.url).href;
    const script = `
      const { createStarter } = await import(${JSON.stringify(module)});
      const starter = createStarter(${JSON.stringify(folder)});
      const started = await starter.start({ argv: ["/bin/true"], files: new Map(), channel: 3, aside: 4 });
      await started.exited; started.channel.destroy(); console.log("done");`;
    const { stdout, status } = spawnSync(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script],
      { encoding: "utf8", timeout: 10_000 },
    );
    assert.deepEqual([stdout, status], ["done\n", 0]);
    rmSync(folder, { recursive: true });
  });

  test("a whole life of it is clean under the sanitizers", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-starter-"));
    const program = join(folder, "starter");
    const source = new URL("../../native/starter.c", import.meta.url).pathname;
    execFileSync("cc", [
      "-g",
      "-O1",
      "-std=gnu17",
      "-fsanitize=address,undefined",
      "-fno-sanitize-recover=all",
      "-Wall",
      "-Wextra",
      "-Werror",
      "-o",
      program,
      source,
    ]);
    {
      await using starter = createStarter(join(folder, "run"), program);
      const spec: StartSpec = { argv: ["/bin/sh", "-c", "exit 4"], files: new Map(), channel: 3, aside: 4 };
      for (let i = 0; i < 5; i += 1) assert.equal(await ended(await starter.start(spec)), 4);
      await assert.rejects(
        starter.start({ ...spec, files: new Map([[0, { path: "/no/such", access: "r" }]]) }),
      );
    }
    assert.equal(existsSync(join(folder, "run")), true);
    rmSync(folder, { recursive: true });
  });
});
