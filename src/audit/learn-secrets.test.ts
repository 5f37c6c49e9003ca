import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { note, stateDir } from "./log.fixture.ts";
import { LEARNT_SECRETS_MAX, openLog } from "./log.ts";

const SECRET = "hunter2-token";

for (const mode of ["inline", "worker"] as const) {
  test(`${mode}: what is learnt while the log is open is masked from then on, everywhere`, async (t) => {
    await using log = await openLog({
      stateDir: stateDir(t),
      mode,
      secrets: ["given-secret"],
      keepPayloads: true,
    });
    const text = `${SECRET} and given-secret`;
    const record = async (): Promise<string> => {
      const draft = { ...note(text), payloads: { input: Buffer.from(text) } };
      const [appended] = await log.append([draft]);
      const index = appended?.index ?? assert.fail();
      const kept = await log.payload(index, "input");
      return `${appended?.bytes} ${Buffer.from(kept?.bytes ?? []).toString()}`;
    };
    const before = await record();
    assert.ok(before.includes(SECRET) && !before.includes("given-secret"), before);
    const stream = log.streamMasker();
    log.learnSecrets([SECRET]);
    const after = await record();
    assert.ok(!after.includes(SECRET) && !after.includes("given-secret"), after);
    assert.equal(Buffer.from(log.mask(Buffer.from(text))).toString(), "[masked] and [masked]");
    assert.deepEqual(log.maskJson({ a: [text] }), { a: ["[masked] and [masked]"] });
    const streamed = [stream.push(Buffer.from(text.slice(0, 4))), stream.push(Buffer.from(text.slice(4)))];
    assert.equal(Buffer.concat([...streamed, stream.end()]).toString(), "[masked] and [masked]");
    assert.ok(!inspect(log, { depth: 20, showHidden: true }).includes(SECRET));
  });
}

test("those learnt longest ago are forgotten beyond the bound, and those given never", async (t) => {
  await using log = await openLog({ stateDir: stateDir(t), mode: "inline", secrets: ["given-secret"] });
  const masked = (text: string): string => Buffer.from(log.mask(Buffer.from(text))).toString();
  log.learnSecrets(["secret-one", "secret-two"]);
  log.learnSecrets(Array.from({ length: LEARNT_SECRETS_MAX - 2 }, (_, at) => `another/${at}/value`));
  assert.equal(masked("secret-one secret-two"), "[masked] [masked]");
  // Learnt again, it is the newest.
  log.learnSecrets(["secret-one", "one-too-many"]);
  assert.equal(masked("given-secret secret-one secret-two"), "[masked] [masked] secret-two");
});
