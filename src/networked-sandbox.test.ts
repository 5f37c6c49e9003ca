import assert from "node:assert/strict";
import { test } from "node:test";
import type { Capability } from "./contract/capability.ts";
import type { Denial, Execution } from "./contract/execution.ts";
import type { EgressFact } from "./contract/network.ts";
import type { SandboxNetwork } from "./egress/network.ts";
import { EGRESS_DENIALS_MAX, NetworkedSandbox } from "./networked-sandbox.ts";
import type { Command, Sandbox } from "./sandbox/driver.ts";

const FACT: EgressFact = {
  ...{ verdict: "refused", kind: "dns", name: "evil.test", port: null, why: "no rule names it" },
  ...{ startedMs: 0, durationMs: 0, bytesSent: 0, bytesReceived: 0 },
};
const EXITED = { outcome: "exited", denials: [] } as unknown as Execution;

interface Parts {
  readonly facts?: readonly EgressFact[];
  readonly end?: () => Promise<void>;
}

function networked({ facts = [], end = async () => {} }: Parts): {
  sandbox: NetworkedSandbox;
  did: string[];
} {
  const did: string[] = [];
  let told: (fact: EgressFact) => void = () => {};
  const sandbox = {
    release: async () => {
      for (const fact of facts) told(fact);
      return EXITED;
    },
    [Symbol.asyncDispose]: end,
  } as unknown as Sandbox;
  const network = {
    follow: (report: typeof told) => {
      told = report;
    },
    drain: async () => void did.push("drained"),
    leave: async () => void did.push("left"),
    [Symbol.asyncDispose]: async () => void did.push("ended"),
  } as unknown as SandboxNetwork;
  return { sandbox: new NetworkedSandbox(sandbox, network), did };
}

async function denialsOf(facts: readonly EgressFact[]): Promise<readonly Denial[]> {
  const execution = await networked({ facts }).sandbox.release({} as Capability, {} as Command);
  return execution.outcome === "unstarted" ? assert.fail("it was not started") : execution.denials;
}

test("a network is left for the next sandbox only once this one is surely gone", async () => {
  const gone = networked({});
  await gone.sandbox[Symbol.asyncDispose]();
  assert.deepEqual(gone.did, ["left", "ended"], "ending it after that does nothing");
  const stuck = networked({ end: () => Promise.reject(new Error("it does not end")) });
  await assert.rejects(async () => await stuck.sandbox[Symbol.asyncDispose](), /it does not end/);
  assert.deepEqual(stuck.did, ["ended"]);
});

test("each refusal is told once, and no more than a result takes", async () => {
  const twice = await denialsOf([FACT, FACT]);
  assert.equal(twice.length, 1);
  const many = Array.from({ length: EGRESS_DENIALS_MAX + 5 }, (_, at) => ({ ...FACT, name: `n${at}.test` }));
  assert.equal((await denialsOf(many)).length, EGRESS_DENIALS_MAX);
});

test("a refusal's remedy is its own; that of a name is the rule that it lacks", async () => {
  const facts: readonly EgressFact[] = [
    FACT,
    { ...FACT, kind: "connection", port: 443, why: "it is private", remedy: "say `allowPrivate`" },
    { ...FACT, kind: "connection", port: 444, why: "nobody listens" },
    { ...FACT, kind: "attempts", name: "", why: "2 attempts" },
    { ...FACT, name: "", why: "too many names" },
    { ...FACT, verdict: "allowed", kind: "connection", port: 445 },
  ];
  const denials = await denialsOf(facts);
  assert.deepEqual(
    denials.map(({ what, remedy }) => [what, remedy?.slice(0, 17)]),
    [
      ["evil.test", "`--net evil.test`"],
      ["evil.test:443", "say `allowPrivate"],
      ["evil.test:444", undefined],
      ["an address or a port", undefined],
      ["an address or a port", undefined],
    ],
  );
});
