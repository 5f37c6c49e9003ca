import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openBench } from "../../sandbox.fixture.ts";

describe("what appears while a sandbox waits", () => {
  test("a daemon's socket in a folder it may read stops the call", async () => {
    await using bench = openBench();
    await using sandbox = await bench.driver.open(bench.profile());
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    const server = createServer().listen(join(bench.workspace, "late.sock"));
    await once(server, "listening");
    const { mounts } = await sandbox.inspect();
    server.close();
    assert.equal(mounts.state, "unavailable");
    assert.match(mounts.evidence, /late\.sock is a socket of the host that has appeared/);
    await once(server, "close");
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
  });

  test("a link to hide that led nowhere makes nothing on the host, and stops the call once it leads somewhere", async () => {
    await using bench = openBench();
    const target = join(bench.workspace, "later.key");
    symlinkSync("later.key", join(bench.workspace, "current"));
    const profile = bench.profile({ files: { read: [], write: ["."], hide: ["current"] } });
    await using sandbox = await bench.driver.open(profile);
    assert.ok(!existsSync(target));
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    writeFileSync(target, "KEY");
    assert.match((await sandbox.inspect()).mounts.evidence, /current has appeared and is not hidden/);
  });
});
