import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseRoot } from "../../../contract/root.ts";
import { makeLayout, makeTar } from "../../image/image.fixture.ts";
import { openBench } from "../../sandbox.fixture.ts";
import { selectDriver } from "../registry.ts";
import { openOciBench } from "./oci.fixture.ts";
import { findRuntime } from "./probe.ts";
import { RUNTIMES } from "./runtimes.ts";

const BUSYBOX = "/bin/busybox";
const skipWithout = existsSync(BUSYBOX) ? false : "busybox-static is not installed";

/** A root without a shell, without libraries: one static program. */
function layers(): readonly Buffer[] {
  const program = { path: "app/busybox", content: readFileSync(BUSYBOX), mode: 0o755 };
  return [
    makeTar([
      program,
      { path: "etc/issue", content: "old\n" },
      { path: "etc/passwd", content: "x:x:7:7::/:/\n" },
    ]),
    makeTar([
      { path: "etc/issue", content: "an image\n" },
      { path: "bin", link: "app" },
    ]),
  ];
}

for (const runtime of ["runc", "runsc"] as const) {
  describe(`a root file system of its own, in ${runtime}`, {
    skip: findRuntime(RUNTIMES[runtime]) === undefined ? `${runtime} is not installed` : skipWithout,
  }, () => {
    test("from an OCI image layout, without a shell in it", async () => {
      await using bench = openOciBench(runtime);
      const { path, digest } = makeLayout(join(bench.workspace, "image"), layers());
      bench.makeFolder("out");
      const profile = bench.profile({
        root: parseRoot(`oci:${path}`),
        files: { read: ["a.txt"], write: ["out"], hide: [] },
      });
      assert.deepEqual(profile.root, { from: "layout", path, digest });
      const script = `cat /etc/issue a.txt; whoami; ls /usr /bin/sh; echo w > out/w; echo no > /app/no; echo t > /tmp/t; cat /tmp/t`;
      const { stdout, stderr, controls } = await bench.run(
        ["/app/busybox", "sh", "-c", script.replaceAll(/(^|; )(cat|ls|whoami)/g, "$1/app/busybox $2")],
        { profile },
      );
      assert.equal(stdout, "an image\nhello\ntool\nt\n", stderr);
      assert.match(stderr, /ls: \/usr: No such file or directory/);
      assert.match(stderr, /can't create \/app\/no/);
      assert.equal(readFileSync(join(bench.workspace, "out/w"), "utf8"), "w\n");
      for (const name of ["mounts", "read_only_root", "seccomp", "descriptors"] as const)
        assert.equal(controls[name].state, "enforced", controls[name].evidence);
    });

    test("from a folder, with a folder of it under what is granted", async () => {
      await using bench = openOciBench(runtime);
      const root = bench.makeFolder("root");
      for (const folder of ["app", "srv", "srv/kept"]) mkdirSync(join(root, folder));
      writeFileSync(join(root, "app/busybox"), readFileSync(BUSYBOX));
      chmodSync(join(root, "app/busybox"), 0o755);
      const profile = bench.profile({
        root: parseRoot("folder:root"),
        files: { read: ["a.txt"], write: [], hide: [] },
        workingDirectory: "/",
      });
      const { stdout, stderr } = await bench.run(["/app/busybox", "ls", "/srv", "/"], { profile });
      assert.match(stdout, /^\/:\n[\s\S]*\/srv:\nkept\n$/, stderr);
      assert.doesNotMatch(stdout, /\busr\b/);
    });
  });
}

describe("a root file system that cannot be used is refused by name, before anything is built", () => {
  test("one that is not there, or lies outside of the workspace", async () => {
    await using bench = openOciBench("runc");
    const asked = (text: string) => () => bench.profile({ root: parseRoot(text) });
    assert.throws(asked("folder:nowhere"), { code: "ERR_USAGE", message: /there is no folder/ });
    assert.throws(asked("oci:nowhere"), { code: "ERR_USAGE" });
    symlinkSync("/usr", join(bench.workspace, "link"));
    assert.throws(asked("folder:link"), { code: "ERR_PATH_OUTSIDE" });
    assert.throws(asked("folder:/"), { code: "ERR_USAGE", message: /lies in it/ });
  });

  test("one that holds what is to be hidden", async () => {
    await using bench = openOciBench("runc");
    const asked = (): unknown =>
      bench.profile({ root: parseRoot("folder:."), files: { read: ["."], write: [], hide: [".env"] } });
    assert.throws(asked, { code: "ERR_USAGE", message: /\.env` lies in it/ });
  });

  test("one that lies in what is to be hidden, as a folder and as a layout", async () => {
    await using bench = openOciBench("runc");
    bench.makeFolder("secret");
    bench.makeFolder("secret/root");
    for (const text of ["folder:secret/root", "folder:secret", "oci:secret/root"]) {
      const files = { read: ["."], write: [], hide: ["secret"] };
      const asked = (): unknown => bench.profile({ root: parseRoot(text), files });
      assert.throws(asked, { code: "ERR_USAGE", message: /it lies in `.*secret`/ }, text);
    }
    assert.throws(() => bench.profile({ root: parseRoot("folder:/dev/shm") }), {
      message: /it lies in `\/dev`/,
    });
  });

  test("one with a link where something has to lie", async () => {
    await using bench = openOciBench("runc");
    const root = bench.makeFolder("root");
    symlinkSync("/usr", join(root, "tmp"));
    const profile = bench.profile({ root: parseRoot("folder:root"), workingDirectory: "/" });
    await assert.rejects(bench.driver.open(profile), {
      code: "ERR_SANDBOX_START",
      message: /`\/tmp` is no folder/,
    });
  });

  test("an image whose layer is gone: said so, and the next call is unaffected", {
    skip: skipWithout,
  }, async () => {
    await using bench = openOciBench("runc");
    const { path, layers: digests } = makeLayout(join(bench.workspace, "image"), layers());
    const profile = bench.profile({ root: parseRoot(`oci:${path}`) });
    const blob = join(path, "blobs/sha256", digests[0]?.slice(7) ?? "");
    const bytes = readFileSync(blob);
    writeFileSync(blob, bytes.subarray(1));
    await assert.rejects(bench.driver.open(profile), {
      code: "ERR_SANDBOX_START",
      message: /the layer sha256/,
    });
    assert.equal((await bench.run(["true"])).execution.outcome, "exited");
  });

  test("by a driver that cannot take it", async () => {
    await using bench = openBench();
    const profile = { ...bench.profile(), root: { from: "folder", path: "/srv" } as const };
    assert.throws(() => selectDriver(profile, [bench.driver]), {
      code: "ERR_DRIVER_UNAVAILABLE",
      message: /bubblewrap cannot take a root file system from a folder/,
    });
    await using oci = openOciBench("runc");
    assert.equal(selectDriver(profile, [bench.driver, oci.driver]).name, "runc");
    const image = { ...profile, root: { from: "image", reference: `a@sha256:${"0".repeat(64)}` } as const };
    assert.throws(() => selectDriver(image, [oci.driver]), { code: "ERR_DRIVER_UNAVAILABLE" });
  });
});
