import assert from "node:assert/strict";
import { test } from "node:test";
import { commit, opensCommitment, SALT_BYTES, Salts } from "./commitment.ts";

test("a commitment opens with its salt and payload and with nothing else", () => {
  const salt = new Salts().next();
  const payload = Buffer.from("payload");
  const commitment = commit(salt, payload);
  assert.ok(opensCommitment(commitment, salt, payload));
  assert.ok(opensCommitment(`sha256:${commitment.toString("hex")}`, salt, payload));
  assert.ok(!opensCommitment(commitment, salt, Buffer.from("payloae")));
  assert.ok(!opensCommitment(commitment, new Salts().next(), payload));
});

test("bytes cannot be moved between salt and payload", () => {
  const salt = new Salts().next();
  const commitment = commit(salt, Buffer.from("payload"));
  assert.ok(
    !opensCommitment(
      commitment,
      salt.subarray(0, SALT_BYTES - 1),
      Buffer.concat([salt.subarray(-1), Buffer.from("payload")]),
    ),
  );
});

test("no salt is given out twice", () => {
  const salts = new Salts();
  const seen = new Set(Array.from({ length: 5_000 }, () => salts.next().toString("hex")));
  assert.equal(seen.size, 5_000);
  for (const salt of seen) assert.equal(salt.length, SALT_BYTES * 2);
});
