import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newCallId } from "./contract/ids.ts";
import type { EgressFact } from "./contract/network.ts";
import type { RecordDraft } from "./contract/record.ts";
import { EGRESS_REFUSALS_MAX, EgressJournal } from "./egress-journal.ts";

const FACT: EgressFact = {
  verdict: "allowed",
  kind: "connection",
  name: "a.test",
  port: 443,
  startedMs: 1.4,
  durationMs: 2.6,
  bytesSent: 3,
  bytesReceived: 4,
};

function journal(append: (drafts: readonly RecordDraft[]) => Promise<unknown> = async () => {}): {
  readonly journal: EgressJournal;
  readonly writes: (readonly RecordDraft[])[];
} {
  const writes: (readonly RecordDraft[])[] = [];
  return {
    journal: new EgressJournal(newCallId(), async (drafts) => {
      writes.push(drafts);
      await append(drafts);
    }),
    writes,
  };
}

test("facts are gathered, and written while the call still runs", async () => {
  const { journal: kept, writes } = journal();
  kept.note(FACT);
  kept.note(FACT);
  assert.equal(writes.length, 0);
  for (let tries = 0; tries < 100 && writes.length === 0; tries += 1) await sleep(20);
  assert.equal(writes.length, 1);
  assert.deepEqual(
    writes[0]?.map(
      ({ record }) => record.kind === "egress" && [record.fact.startedMs, record.fact.durationMs],
    ),
    [
      [1, 3],
      [1, 3],
    ],
    "whole numbers",
  );
  await kept.close();
  assert.equal(writes.length, 1, "nothing twice");
});

test("what is left is written at the end, and a burst at once", async () => {
  const { journal: kept, writes } = journal();
  for (let i = 0; i < 65; i += 1) kept.note(FACT);
  assert.deepEqual(
    writes.map(({ length }) => length),
    [64],
  );
  await kept.close();
  assert.deepEqual(
    writes.map(({ length }) => length),
    [64, 1],
  );
  assert.equal(kept.facts.length, 65);
});

test("a record that cannot be written fails the call", async () => {
  const { journal: kept } = journal(() => Promise.reject(new Error("disk full")));
  kept.note(FACT);
  await assert.rejects(kept.close(), /disk full/);
});

test("there is an end to the refusals that the record takes, it says so, and it hides nothing that passed", async () => {
  const { journal: kept, writes } = journal();
  for (let i = 0; i < EGRESS_REFUSALS_MAX + 5; i += 1) kept.note({ ...FACT, verdict: "refused", why: "no" });
  kept.note(FACT);
  await kept.close();
  const facts = writes.flat().map(({ record }) => (record.kind === "egress" ? record.fact : undefined));
  assert.equal(facts.length, EGRESS_REFUSALS_MAX + 2);
  assert.equal(facts.at(-3)?.why, "no");
  assert.match(facts.at(-2)?.why ?? "", /^more than 5000 refusals: those after/);
  assert.equal(facts.at(-1)?.verdict, "allowed");
});

test("a call that fails on its way still has what is left written, and waits for it", async () => {
  let isWritten = false;
  const { journal: kept, writes } = journal(async () => {
    await sleep(20);
    isWritten = true;
  });
  {
    await using ends = kept;
    ends.note(FACT);
  }
  assert.equal(writes.length, 1);
  assert.equal(isWritten, true);
  const { journal: broken } = journal(() => Promise.reject(new Error("disk full")));
  broken.note(FACT);
  await broken[Symbol.asyncDispose]();
});
