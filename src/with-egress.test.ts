import assert from "node:assert/strict";
import { test } from "node:test";
import type { Profile } from "./contract/profile.ts";
import type { PreparedCall } from "./gate.ts";
import type { Driver } from "./sandbox/driver.ts";
import { DRIVERS_MAX, NetworkedDrivers } from "./with-egress.ts";

const NETWORKED = { network: { mode: "names", allow: [] } } as unknown as Profile;
const PLAIN = { network: { mode: "none" } } as unknown as Profile;

function call(caller: string): PreparedCall {
  const tool = { digest: "sha256:00", tier: "low" };
  return { tool, call: { caller: { kind: "user", id: caller } } } as unknown as PreparedCall;
}

test("one caller's tool has one driver for as long as it is among the last that called", () => {
  const unused = (): never => assert.fail("nothing is opened");
  const drivers = new NetworkedDrivers({ egress: unused, credentialsOf: unused });
  const driver = { name: "d", supports: {} } as unknown as Driver;
  assert.equal(drivers.for(driver, call("ada"), PLAIN), driver, "without a network it is the driver itself");
  const ada = drivers.for(driver, call("ada"), NETWORKED);
  assert.equal(drivers.for(driver, call("ada"), NETWORKED), ada);
  assert.notEqual(drivers.for(driver, call("eve"), NETWORKED), ada);
  for (let at = 2; at < DRIVERS_MAX; at += 1) drivers.for(driver, call(`u${at}`), NETWORKED);
  assert.equal(drivers.for(driver, call("ada"), NETWORKED), ada, "there is room for all of them");
  drivers.for(driver, call("one more"), NETWORKED);
  assert.equal(drivers.for(driver, call("ada"), NETWORKED), ada, "who called last is not the oldest");
  for (let at = 0; at < DRIVERS_MAX; at += 1) drivers.for(driver, call(`v${at}`), NETWORKED);
  assert.notEqual(drivers.for(driver, call("ada"), NETWORKED), ada, "its place went to another");
});
