import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { AHEAD_MAX, AHEAD_MS_MAX, AheadResolver } from "./ahead-resolver.ts";
import { Refusal } from "./visit.ts";

const { signal } = new AbortController();

function counting(answers: readonly (readonly string[] | Error)[]): {
  resolver: AheadResolver;
  asked: string[];
} {
  const asked: string[] = [];
  const left = [...answers];
  const resolver = new AheadResolver({
    resolve: async (name) => {
      asked.push(name);
      const answer = left.shift() ?? [];
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { resolver, asked };
}

test("an answer that was asked for ahead serves one connection, and no more", async () => {
  const { resolver, asked } = counting([["192.0.2.1"], ["192.0.2.2"]]);
  resolver.ahead("a.test", signal);
  resolver.ahead("a.test", signal);
  assert.deepEqual(await resolver.resolve("a.test", signal), ["192.0.2.1"]);
  assert.deepEqual(await resolver.resolve("a.test", signal), ["192.0.2.2"]);
  assert.deepEqual(asked, ["a.test", "a.test"]);
});

test("another name's answer is not taken, and one that is old is asked for again", async (t) => {
  const { resolver, asked } = counting([["192.0.2.1"], ["192.0.2.2"], ["192.0.2.3"]]);
  let nowMs = 1_000;
  t.mock.method(performance, "now", () => nowMs);
  resolver.ahead("a.test", signal);
  assert.deepEqual(await resolver.resolve("b.test", signal), ["192.0.2.2"]);
  nowMs += AHEAD_MS_MAX;
  assert.deepEqual(await resolver.resolve("a.test", signal), ["192.0.2.3"]);
  assert.deepEqual(asked, ["a.test", "b.test", "a.test"]);
  mock.reset();
});

test("few names are asked for ahead at a time, and those beyond when somebody connects", async () => {
  const asked: string[] = [];
  const waiting: (() => void)[] = [];
  const resolver = new AheadResolver({
    resolve: async (name) => {
      asked.push(name);
      await new Promise<void>((done) => waiting.push(done));
      if (name === "n0.test") throw new Refusal("n0.test has no address");
      return ["192.0.2.1"];
    },
  });
  for (let at = 0; at <= AHEAD_MAX; at += 1) resolver.ahead(`n${at}.test`, signal);
  assert.equal(asked.length, AHEAD_MAX);
  const last = resolver.resolve(`n${AHEAD_MAX}.test`, signal);
  for (const done of waiting) done();
  assert.deepEqual(await last, ["192.0.2.1"]);
  for (let at = 0; at <= AHEAD_MAX; at += 1) resolver.ahead(`m${at}.test`, signal);
  assert.equal(asked.length, 2 * AHEAD_MAX + 1, "one that failed gives its place back too");
});

test("a failure is told to whoever connects, and to nobody where nobody does", async () => {
  const { resolver } = counting([new Refusal("a.test has no address"), new Refusal("b.test has no address")]);
  resolver.ahead("a.test", signal);
  resolver.ahead("b.test", signal);
  await assert.rejects(resolver.resolve("a.test", signal), /a\.test has no address/);
  await new Promise((done) => setImmediate(done));
});
