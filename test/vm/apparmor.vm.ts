// Runs in the VM: AppArmor is active there, and the profile `callgate` is loaded.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openOciBench } from "../../src/sandbox/drivers/oci/oci.fixture.ts";
import { labelControl, readLabel } from "../../src/sandbox/lsm.ts";

const PROFILE = "callgate";
const START_MS_MAX = 20_000;
const folder = mkdtempSync(join(tmpdir(), "callgate-apparmor-"));
const runc = (...args: string[]): string =>
  execFileSync("runc", ["--root", join(folder, "state"), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });

/** A container that sleeps, with the profile or without. @returns its pid. */
async function start(name: string, profile: string | undefined): Promise<number> {
  const bundle = join(folder, name);
  for (const path of ["usr", "proc"]) mkdirSync(join(bundle, "rootfs", path), { recursive: true });
  for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(bundle, "rootfs", name));
  const bind = { destination: "/usr", source: "/usr", type: "bind", options: ["bind", "ro"] };
  const config = {
    ociVersion: "1.0.2",
    process: {
      args: ["/usr/bin/sleep", "60"],
      cwd: "/",
      user: { uid: 65_533, gid: 65_533 },
      noNewPrivileges: true,
      ...(profile === undefined ? {} : { apparmorProfile: profile }),
    },
    root: { path: "rootfs" },
    mounts: [{ destination: "/proc", type: "proc", source: "proc" }, bind],
    linux: { namespaces: ["pid", "mount", "ipc", "network", "uts"].map((type) => ({ type })) },
  };
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  const pidFile = join(bundle, "pid");
  execFileSync(
    "runc",
    ["--root", join(folder, "state"), "run", "--detach", "--bundle", bundle, "--pid-file", pidFile, name],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  after(() => runc("delete", "--force", name));
  const pid = Number(readFileSync(pidFile, "utf8"));
  // runc returns before its init has become the program, and a label holds from then on.
  const begun = performance.now();
  while (readFileSync(`/proc/${pid}/comm`, "utf8") !== "sleep\n" && performance.now() - begun < START_MS_MAX)
    await sleep(10);
  return pid;
}

describe("AppArmor", () => {
  test("a container with the profile is under it, and the kernel says so", async () => {
    const pid = await start("labelled", PROFILE);
    assert.equal(readFileSync(`/proc/${pid}/attr/current`, "utf8"), "callgate (enforce)\n");
    assert.deepEqual(labelControl(pid, PROFILE), {
      state: "enforced",
      basis: "verified",
      evidence: "AppArmor label `callgate`, enforced",
    });
  });

  test("a container without it is not", async () => {
    const pid = await start("bare", undefined);
    assert.deepEqual(readLabel(pid), { module: "AppArmor", label: "unconfined", enforced: false });
    assert.equal(labelControl(pid, PROFILE).state, "unavailable");
  });

  test("a call through the OCI driver is under it, from before the tool until its end", async () => {
    await using bench = openOciBench("runc");
    const { controls, stdout } = await bench.run(["cat", "/proc/self/attr/current"]);
    assert.equal(controls.lsm.state, "enforced");
    assert.match(controls.lsm.evidence, /AppArmor label `callgate`, enforced/);
    assert.equal(stdout, "callgate (enforce)\n");
  });

  /** Each does something as the VM's root, which nothing else holds back. */
  const refused: readonly [what: string, script: string][] = [
    ["mount", "mount -t tmpfs none /mnt"],
    ["change a setting of the kernel", "echo 0 > /proc/sys/kernel/printk"],
    ["read the kernel's log", "dd if=/dev/kmsg count=1 bs=8192"],
    ["signal a process outside", `kill -0 ${process.pid}`],
    ["leave the profile", "echo 'changeprofile unconfined' > /proc/self/attr/current"],
  ];
  for (const [what, script] of refused) {
    test(`under the profile nothing can ${what}`, () => {
      const attempt = (...front: string[]): number => {
        try {
          execFileSync("unshare", ["-m", ...front, "sh", "-c", script], { stdio: "ignore" });
          return 0;
        } catch (error) {
          return (error as { status: number }).status;
        }
      };
      assert.equal(attempt(), 0, "it fails without the profile too");
      assert.notEqual(attempt("aa-exec", "-p", PROFILE, "--"), 0);
    });
  }

  test("under the profile a tool reads, writes and starts programs as before", () => {
    const script =
      "echo x > /tmp/callgate-apparmor && cat /tmp/callgate-apparmor && cat /proc/self/attr/current";
    const said = execFileSync("aa-exec", ["-p", PROFILE, "--", "sh", "-c", script], { encoding: "utf8" });
    assert.equal(said, "x\ncallgate (enforce)\n");
  });
});
