import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { inspect } from "node:util";
import type { SecretSource } from "./config/credentials.ts";
import { GateError } from "./contract/errors.ts";
import { SECRET_BYTES_MAX, type SourceOptions, secretSource } from "./credential-source.ts";

const SECRET = "s3cret-of-the-gate";

async function refused(from: SecretSource, words: RegExp, options: SourceOptions = {}): Promise<void> {
  await assert.rejects(secretSource(from, options)(), (error) => {
    assert.ok(error instanceof GateError, String(error));
    assert.equal(error.code, "ERR_CREDENTIAL");
    assert.match(error.message, words);
    assert.ok(error.remedy);
    assert.equal(error.cause, undefined);
    const shown = [inspect(error, { depth: 20, showHidden: true }), error.stack, JSON.stringify(error)];
    assert.ok(!shown.join("\n").includes(SECRET), shown.join("\n"));
    return true;
  });
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "callgate-source-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function fileWith(t: TestContext, bytes: string | Uint8Array, mode = 0o600): string {
  const path = join(folder(t), "key");
  writeFileSync(path, bytes);
  chmodSync(path, mode);
  return path;
}

/** A program that runs `script` in a shell of its own. */
function script(text: string): SecretSource {
  return { command: ["/bin/sh", "-c", text, SECRET] };
}

describe("a secret from the environment", () => {
  it("is the gateway's variable as it is", async () => {
    const environment = { KEY: `${SECRET}\n` };
    assert.equal(await secretSource({ environment: "KEY" }, { environment })(), `${SECRET}\n`);
  });

  it("is refused where there is none", async () => {
    await refused({ environment: "KEY" }, /no variable `KEY`/, { environment: { OTHER: SECRET } });
    await refused({ environment: "KEY" }, /no variable `KEY`/, { environment: { KEY: "" } });
  });
});

describe("a secret from a file", () => {
  it("is its text without the last newline, read each time", async (t) => {
    const file = fileWith(t, `${SECRET}\n\n`);
    const fetch = secretSource({ file });
    assert.equal(await fetch(), `${SECRET}\n`);
    writeFileSync(file, `${SECRET}-2\r\n`);
    assert.equal(await fetch(), `${SECRET}-2`);
  });

  it("is refused where others can read or write it", async (t) => {
    for (const mode of [0o640, 0o604, 0o620, 0o602])
      await refused({ file: fileWith(t, SECRET, mode) }, /can be read or written by others/);
  });

  it("is refused where it is another user's", {
    skip: process.geteuid?.() !== 0 && "only root can make one",
  }, async (t) => {
    const file = fileWith(t, SECRET);
    chownSync(file, 65_534, 65_534);
    await refused({ file }, /belongs to another user/);
  });

  it("is refused where it is none, or no regular file", async (t) => {
    await refused({ file: join(folder(t), "missing") }, /cannot be read \(ENOENT\)/);
    await refused({ file: folder(t) }, /not a regular file/);
    const pipe = join(folder(t), "pipe");
    execFileSync("mkfifo", ["-m", "600", pipe]);
    await refused({ file: pipe }, /not a regular file/);
  });

  it("is refused beyond its bound, and where it is not text", async (t) => {
    const most = "x".repeat(SECRET_BYTES_MAX);
    assert.equal(await secretSource({ file: fileWith(t, most) })(), most);
    await refused({ file: fileWith(t, `${SECRET}${most}`) }, /more than 65536 bytes/);
    const bytes = Buffer.concat([Buffer.from(SECRET), Uint8Array.of(0xff)]);
    await refused({ file: fileWith(t, bytes) }, /not text/);
  });
});

describe("a secret from a command", () => {
  it("is what it writes, without the last newline, and no shell reads its arguments", async () => {
    assert.equal(await secretSource({ command: ["/bin/echo", "$HOME", "a;b"] })(), "$HOME a;b");
  });

  it("gets PATH and HOME of the gateway, and nothing else", async () => {
    const environment = { PATH: "/usr/bin:/bin", HOME: "/nowhere", OTHER: SECRET, LD_PRELOAD: "" };
    const env = await secretSource({ command: ["/usr/bin/env"] }, { environment })();
    assert.deepEqual(env.split("\n").sort(), ["HOME=/nowhere", "PATH=/usr/bin:/bin"]);
    assert.equal(await secretSource(script("cat; pwd"))(), "/");
  });

  it("is refused where it fails, in words without its output or its arguments", async () => {
    await refused(script(`echo ${SECRET}; echo ${SECRET} >&2; exit 3`), /`\/bin\/sh` ended with code 3/);
    await refused(script(`echo ${SECRET}; kill -9 $$`), /was killed by SIGKILL/);
    await refused({ command: ["/nowhere/program", SECRET] }, /cannot be started \(ENOENT\)/);
    await refused(script(`printf '\\377${SECRET}'`), /not text/);
  });

  it("is refused beyond its bound", async () => {
    const give = (bytes: number): SecretSource => script(`head -c ${bytes} /dev/zero | tr '\\0' x`);
    assert.equal((await secretSource(give(SECRET_BYTES_MAX))()).length, SECRET_BYTES_MAX);
    await refused(give(SECRET_BYTES_MAX + 1), /more than 65536 bytes/);
    await refused(script("exec yes"), /more than 65536 bytes/);
  });

  it("is refused beyond its time, and nothing that it started goes on", async (t) => {
    const note = join(folder(t), "pid");
    const slow = script(`sleep 1000 & echo $! > ${note}; wait`);
    await refused(slow, /took more than 400 ms/, { commandMsMax: 400 });
    const pid = Number(readFileSync(note, "utf8"));
    // A process that was killed and not yet reaped is a zombie.
    while (existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(statusOf(pid)))
      await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "State: Z";
  }
}
