import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { startDaemon, whyNoDaemon } from "../src/sandbox/drivers/docker/docker.fixture.ts";

/**
 * The very filter that dockerd puts on a container of its default profile, read from a container that it started; a
 * profile in JSON says less than that, since the runtime adds to it.
 * @returns a sentence where it cannot be had
 */
export async function dockersFilter(folder: string): Promise<Uint8Array | string> {
  const why = whyNoDaemon();
  if (why !== undefined) return why;
  const dump = join(folder, "dump");
  const source = join(import.meta.dirname, "seccomp-dump.c");
  if (spawnSync("cc", ["-O2", "-o", dump, source], { stdio: "inherit" }).status !== 0) return "it needs cc";
  await using daemon = await startDaemon();
  const docker = (...args: readonly string[]): string => {
    const { stdout, stderr, status } = spawnSync("docker", ["-H", `unix://${daemon.socket}`, ...args], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: folder },
    });
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  const container = docker("run", "--detach", "--network", "none", daemon.image, "sleep", "60");
  const pid = docker("inspect", "--format", "{{.State.Pid}}", container);
  const { stdout, stderr, status } = spawnSync(dump, [pid]);
  docker("rm", "--force", container);
  return status === 0 ? stdout : stderr.toString();
}
