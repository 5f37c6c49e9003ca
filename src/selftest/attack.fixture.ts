import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { Selftest } from "./run.ts";

/** Under way at once, of one driver. */
const AT_ONCE = 4;

/** What `callgate selftest` says, as tests: one for each driver and probe, so that a failure names both. */
export async function attack(selftest: Selftest): Promise<void> {
  after(() => selftest[Symbol.asyncDispose]());
  for (const target of selftest.targets) {
    const { driver, isolation } = target;
    const { usable, detail } = await selftest.diagnose(target);
    const skip = usable ? false : `${driver.name} is not here: ${detail}`;
    describe(`${driver.name}, ${isolation}`, { concurrency: AT_ONCE, skip }, () => {
      for (const probe of selftest.probes) {
        test(`${probe.id} is held`, async (run) => {
          const first = await selftest.probe(probe, target);
          // One that did not come to its end shows nothing either way; on a busy host it may the second time.
          if (first.state === "broken") run.diagnostic(`tried again: ${first.detail}`);
          const { state, detail: why } =
            first.state === "broken" ? await selftest.probe(probe, target) : first;
          if (state === "unshown") run.skip(why);
          else assert.equal(state, "held", why);
        });
      }
      for (const use of selftest.usability) {
        test(`${use.id} works`, async (run) => {
          const { state, detail: why } = await selftest.use(use, target);
          if (state === "untried") run.skip(why);
          else assert.equal(state, "works", why);
        });
      }
    });
  }
}
