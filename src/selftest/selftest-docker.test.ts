import { existsSync } from "node:fs";
import { after, test } from "node:test";
import { startDaemon, whyNoDaemon } from "../sandbox/drivers/docker/docker.fixture.ts";
import { harmless } from "../surfaces/cli/terminal.ts";
import { attack } from "./attack.fixture.ts";
import { hostRootTar } from "./docker-image.fixture.ts";
import { openSelftest } from "./run.ts";

const lack =
  whyNoDaemon() ?? (existsSync("/usr/bin/dpkg") ? undefined : "the image is made of Debian's packages");
if (lack === undefined) await attackContainers();
else test("every probe is held in a container", { skip: lack }, () => undefined);

/** A daemon of the test's own: the host's, if it has one, is left alone. */
async function attackContainers(): Promise<void> {
  const daemon = await startDaemon();
  const image = await daemon.importRoot(hostRootTar());
  const docker = { socket: daemon.socket, image, runtime: "runc" };
  await attack(openSelftest({ show: harmless, host: { docker }, wanted: (name) => name === "docker" }));
  after(() => daemon[Symbol.asyncDispose]());
}
