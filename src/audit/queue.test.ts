import assert from "node:assert/strict";
import { test } from "node:test";
import { GateError } from "../contract/errors.ts";
import { toFaultData } from "./fault.ts";
import { AppendQueue, QUEUE_APPENDS_MAX } from "./queue.ts";
import type { AppendDone, AppendWork, Batch, Writer } from "./work.ts";

const work = (bytes: string, payload?: Uint8Array): AppendWork => ({
  entries: [
    {
      kind: "policy",
      call: null,
      bytes,
      payloads: payload ? [{ name: "p", commitment: "", salt: "", bytes: payload }] : [],
    },
  ],
  spend: [],
  proofs: false,
  pendingOnly: false,
  redact: null,
});

/** A writer that answers when it is told to. */
class SlowWriter implements Writer {
  readonly batches: Batch[] = [];
  readonly #answers: PromiseWithResolvers<readonly AppendDone[]>[] = [];
  #size = 0;

  commit(batch: Batch): Promise<readonly AppendDone[]> {
    this.batches.push(batch);
    const answer = Promise.withResolvers<readonly AppendDone[]>();
    this.#answers.push(answer);
    return answer.promise;
  }

  answer(refuse?: GateError): void {
    const batch = this.batches[this.batches.length - this.#answers.length];
    const done = batch?.appends.map(() =>
      refuse ? { refused: toFaultData(refuse) } : { first: this.#size++, proofs: [] },
    );
    this.#answers.shift()?.resolve(done ?? []);
  }

  fail(fault: Error): void {
    this.#answers.shift()?.reject(fault);
  }

  async memoPut(): Promise<void> {}
  async close(): Promise<void> {}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what is appended in one turn shares a commit, what comes while it runs shares the next", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, () => 7);
  const first = [queue.push(work("a")), queue.push(work("b"))];
  await turn();
  const second = [queue.push(work("c")), queue.push(work("d"))];
  await turn();
  assert.deepEqual(
    writer.batches.map(({ appends, nowMs }) => [appends.length, nowMs]),
    [[2, 7]],
  );
  writer.answer();
  await turn();
  assert.deepEqual(
    writer.batches.map(({ appends }) => appends.length),
    [2, 2],
  );
  writer.answer();
  assert.deepEqual(
    (await Promise.all([...first, ...second])).map(({ first }) => first),
    [0, 1, 2, 3],
  );
});

test("many appends of one turn go to the writer before the turn is over, a few commits ahead", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  const all = Array.from({ length: 500 }, (_, i) => queue.push(work(`${i}`)));
  const ahead = writer.batches.length;
  assert.ok(ahead > 1 && ahead < 8, `${ahead} commits ahead`);
  while (writer.batches.flatMap(({ appends }) => appends).length < 500) {
    writer.answer();
    await turn();
  }
  for (const _ of writer.batches) writer.answer();
  const places = await Promise.all(all);
  assert.deepEqual(
    places.map(({ first }) => first),
    Array.from({ length: 500 }, (_, i) => i),
    "in the order they came",
  );
});

test("a commit that fails refuses its own appends, and the next goes on", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  const lost = queue.push(work("a"));
  await turn();
  const kept = queue.push(work("b"));
  writer.fail(new GateError("ERR_STATE_UNWRITABLE", "full"));
  await assert.rejects(lost, { code: "ERR_STATE_UNWRITABLE" });
  writer.answer();
  assert.equal((await kept).first, 0);
});

test("a refusal keeps its code and remedy on its way between threads", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  const refused = queue.push(work("a"));
  await turn();
  writer.answer(new GateError("ERR_CAPABILITY", "used up", { remedy: "ask again" }));
  await assert.rejects(refused, {
    name: "GateError",
    code: "ERR_CAPABILITY",
    message: "used up",
    remedy: "ask again",
  });
});

test("a writer that leaves an append out does not leave its caller waiting", async () => {
  const queue = new AppendQueue(
    { commit: async () => [], memoPut: async () => {}, close: async () => {} },
    Date.now,
  );
  await assert.rejects(queue.push(work("a")), { code: "ERR_INTERNAL" });
});

test("more appends than may wait are refused at once", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  let refused = 0;
  for (let i = 0; i < QUEUE_APPENDS_MAX + 1000; i++) {
    queue.push(work("a")).catch((fault: GateError) => {
      if (fault.code === "ERR_STATE_UNWRITABLE") refused++;
    });
  }
  await turn();
  assert.ok(refused > 0 && refused < 1000, `${refused} refused`);
});

test("large payloads are split over commits", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  const megabytes = new Uint8Array(10 * 1024 * 1024);
  const all = [1, 2, 3].map((i) => queue.push(work(`${i}`, megabytes)));
  for (let i = 0; i < 3; i++) {
    await turn();
    writer.answer();
  }
  await Promise.all(all);
  assert.deepEqual(
    writer.batches.map(({ appends }) => appends.length),
    [1, 1, 1],
  );
});

test("draining waits for all that is under way and for nothing else", async () => {
  const writer = new SlowWriter();
  const queue = new AppendQueue(writer, Date.now);
  await queue.drain();
  let settled = false;
  const one = queue.push(work("a")).then(() => {
    settled = true;
  });
  const drained = queue.drain();
  await turn();
  writer.answer();
  await drained;
  await one;
  assert.ok(settled);
});
