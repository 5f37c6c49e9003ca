import assert from "node:assert/strict";
import { test } from "node:test";
import { parseResults } from "./results.ts";

test("what the VM told is read line by line, under the job that was running", () => {
  const text = [
    '{"job":"root","begins":4.5}',
    '{"test":["suite","one"],"ok":true,"ms":3}\r',
    '{"test":["two"],"ok":false,"error":"why","ms":4}',
    '{"test":["three"],"ok":true,"skip":"no such thing","ms":0}',
    '{"told":3}',
    '{"job":"root","status":1,"ends":6}',
    '{"done":true}',
    "",
  ].join("\n");
  assert.deepEqual(parseResults(text), {
    tests: [
      { job: "root", name: "suite: one", ok: true, ms: 3 },
      { job: "root", name: "two", ok: false, ms: 4, error: "why" },
      { job: "root", name: "three", ok: true, ms: 0, skipped: "no such thing" },
    ],
    jobs: new Map([["root", { status: 1, seconds: 1.5 }]]),
    told: 3,
    unread: [],
    finished: true,
  });
});

test("a VM that was cut off has not finished, and half a line is no result", () => {
  const { finished, tests, unread } = parseResults('{"job":"root","begins":1}\n{"test":["one"],"ok":tr');
  assert.deepEqual([finished, tests, unread], [false, [], ['{"test":["one"],"ok":tr']]);
});
