import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { within } from "../../deadline.ts";
import { CHANNELS_INSIDE, initCommand } from "./init.ts";

const TELL_MS_MAX = 10_000;
/** Other commands run before it waits, so that the shell has long forgotten a tool that ended at once. */
const LATE = 'wait() { /bin/sleep 0.3; builtin wait "$@"; }\n';

test("the end of a tool is told even where it came before anybody waited for it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "callgate-init-"));
  const pipes = ["in", "go", "hold", "out", "err", "up", "end"].map((name) => join(folder, name));
  execFileSync("mkfifo", pipes);
  writeFileSync(join(folder, "request"), "");
  const ends = pipes.map((path) => openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
  const { entrypoint } = initCommand("");
  const script = LATE + (entrypoint.at(-2) ?? "").replace(CHANNELS_INSIDE, folder);
  const init = spawn("bash", ["-c", script, "init", "/bin/sh", "-c", "exit 5"], { stdio: "ignore" });
  const end = new Socket({ fd: ends.pop() ?? -1, readable: true, writable: false });
  try {
    const told = await within(TELL_MS_MAX, once(end, "data"));
    assert.equal(String(told?.[0]), "5\n");
  } finally {
    init.kill("SIGKILL");
    end.destroy();
    for (const fd of ends) closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});
