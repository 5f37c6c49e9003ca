import { after, before, describe, test } from "node:test";
import { detectLimits } from "../limits/detect.ts";
import { openBench } from "../sandbox.fixture.ts";
import { type AnyBench, CONFORMANCE } from "./conformance.fixture.ts";
import { type Daemon, openDockerBench, startDaemon, whyNoDaemon } from "./docker/docker.fixture.ts";
import { openOciBench } from "./oci/oci.fixture.ts";
import { RUNTIME_NAMES } from "./oci/runtimes.ts";

/** Where only rlimits bound a tree, memory is bounded per process and ends a tool otherwise. */
const NEEDS_CGROUP = /`memory`|`cpu`/;
const hasCgroup = detectLimits().name !== "rlimit";

function suite(name: string, missing: string | undefined, open: () => AnyBench): void {
  describe(`conformance: ${name}`, { skip: missing ?? false }, () => {
    for (const one of CONFORMANCE) {
      const skip = !hasCgroup && NEEDS_CGROUP.test(one.name) && "no cgroup may be written here";
      test(one.name, { skip }, async () => {
        await using bench = open();
        await one.check(bench);
      });
    }
  });
}

suite("bubblewrap", undefined, () => openBench());
suite("bubblewrap with the bash launcher", undefined, () => openBench(undefined, null));

for (const name of RUNTIME_NAMES) {
  await using trial = openOciBench(name);
  const { usable, detail } = await trial.driver.probe();
  suite(name, usable ? undefined : detail, () => openOciBench(name));
}

describe("with a Docker daemon", { skip: whyNoDaemon() ?? false }, () => {
  let daemon: Daemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(async () => {
    await daemon[Symbol.asyncDispose]();
  });
  suite("Docker", undefined, () => openDockerBench(daemon));
});
