import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { HostUser } from "../sandbox/user.ts";
import { openDriver } from "./open-driver.fixture.ts";
import { PROBES } from "./probes.ts";
import { openSelftest } from "./run.ts";

/** Judged before any driver is asked: what is granted there is never granted. */
const REFUSED_BY_PROFILE: ReadonlySet<string> = new Set([
  "links.granted-link",
  "credentials.gate-key-writable",
]);

// The proof that a probe can fail: a sandbox that confines nothing, and says it does, is found out by every one.
describe("under a driver that confines nothing", { concurrency: 4 }, () => {
  const users: HostUser[] = [];
  const selftest = openSelftest({
    drivers: ({ user }) => {
      users.push(user);
      return [];
    },
    registry: import.meta.resolve("./open-registry.fixture.ts"),
    show: (text) => text,
    // Each of these has a driver of its own.
    alone: true,
  });
  after(() => selftest[Symbol.asyncDispose]());
  const [user] = users;
  assert.ok(user);
  for (const probe of PROBES) {
    test(`${probe.id} gets through`, async (run) => {
      const driver = openDriver(user, probe.outside ?? "plain");
      const target = { driver, isolation: "process" } as const;
      const { state, detail } = await selftest.probe(probe, target);
      if (state === "unshown") {
        run.skip(`not on this host: ${detail}`);
        return;
      }
      assert.equal(state, REFUSED_BY_PROFILE.has(probe.id) ? "held" : "open", detail);
    });
  }
});
