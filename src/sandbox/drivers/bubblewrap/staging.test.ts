import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { newCallId } from "../../../contract/ids.ts";
import { openBench, UNCHECKED } from "../../sandbox.fixture.ts";
import { stageWrites } from "../../staged/staged.ts";
import { ROOT_STANDS_BACK } from "../../user.ts";
import { stageGrants } from "./staging.ts";

const isRoot = process.geteuid?.() === 0;

describe("a gateway that is root, in a workspace that is root's", {
  skip: isRoot ? false : "only root stages",
}, () => {
  test("what the sandbox's user owns and can enter is bound as it is", async () => {
    await using bench = openBench();
    assert.equal(stageGrants(bench.profile(), ROOT_STANDS_BACK), undefined);
  });

  test("root's private files are read and written as theirs, by a process that is not root", async () => {
    await using bench = openBench();
    const secretive = join(bench.workspace, "root");
    mkdirSync(join(secretive, "out"), { recursive: true });
    writeFileSync(join(secretive, "private"), "for root\n", { mode: 0o600 });
    for (const path of [secretive, join(secretive, "out")]) chmodSync(path, 0o700);
    const profile = bench.profile({
      files: { read: ["root"], write: ["root/out"], hide: ["root/hidden"] },
      workingDirectory: secretive,
    });
    const script = "cat private; echo made > out/made; echo no > no";
    const { controls, stdout } = await bench.run(["sh", "-c", script], { profile });
    assert.equal(stdout, "for root\n");
    assert.equal(readFileSync(join(secretive, "out/made"), "utf8"), "made\n");
    assert.equal(statSync(join(secretive, "out/made")).uid, 0);
    assert.throws(() => statSync(join(secretive, "no")));
    assert.equal(controls.user.state, "enforced");
    assert.match(controls.user.evidence, /host uid 65533/);
    assert.equal(controls.mounts.state, "enforced", controls.mounts.evidence);
  });

  test("staged writes to root's own tree are applied as root's", async () => {
    await using bench = openBench();
    const tree = join(bench.workspace, "tree");
    mkdirSync(tree, { mode: 0o700 });
    writeFileSync(join(tree, "private"), "for root\n", { mode: 0o600 });
    const profile = bench.profile({ files: { read: [], write: ["tree"], hide: [], staged: true } });
    const folder = join(bench.folder, "staged");
    await using staged = await stageWrites(profile, { folder, user: ROOT_STANDS_BACK, call: newCallId() });
    const sandbox = await bench.driver.open(profile, { copyOf: staged.copyOf });
    assert.equal((await sandbox.inspect()).mounts.state, "enforced");
    const script = "cd tree && cat private && echo more >> private && echo made > made";
    const execution = await sandbox.release(UNCHECKED, { argv: ["sh", "-c", script] });
    await sandbox[Symbol.asyncDispose]();
    assert.equal(readFileSync(join(tree, "private"), "utf8"), "for root\n");
    assert.equal((await staged.settle(execution)).state, "applied");
    staged.finish();
    assert.equal(readFileSync(join(tree, "private"), "utf8"), "for root\nmore\n");
    for (const name of ["private", "made"]) assert.equal(statSync(join(tree, name)).uid, 0, name);
    assert.equal(statSync(join(tree, "private")).mode & 0o777, 0o600);
  });

  test("a tool cannot leave root a program that runs as root", async () => {
    await using bench = openBench();
    const out = join(bench.workspace, "out");
    mkdirSync(out);
    chownSync(out, 0, 0);
    const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [] } });
    await bench.run(["sh", "-c", "cp /usr/bin/true out/t; chmod 6755 out/t; chmod u+s out/t; touch out/u"], {
      profile,
    });
    assert.equal(statSync(join(out, "t")).mode & 0o6000, 0);
    assert.equal(statSync(join(out, "u")).uid, 0);
  });
});

test("an unprivileged gateway never stages", {
  skip: isRoot ? "only for an ordinary user" : false,
}, async () => {
  await using bench = openBench();
  assert.equal(stageGrants(bench.profile(), { uid: 1, gid: 1 }), undefined);
});
