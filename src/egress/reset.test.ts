import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { heard, listening } from "./pass-through.fixture.ts";
import { reset } from "./reset.ts";

async function joined(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const port = await listening(server);
  const client = connect({ host: "127.0.0.1", port, allowHalfOpen: true }).pause();
  const [[accepted]] = await Promise.all([once(server, "connection"), once(client, "connect")]);
  server.close();
  return [client, accepted];
}

for (const bytes of [0, 64 * 1024 ** 2])
  test(`a reset comes at once and without FIN, with ${bytes} bytes on their way`, async () => {
    const [client, accepted] = await joined();
    accepted.on("error", () => {});
    if (bytes > 0) accepted.write(Buffer.alloc(bytes));
    client.on("end", () => assert.fail("FIN"));
    await turn();
    reset(accepted);
    assert.equal(accepted.destroyed, true);
    await once(accepted, "close");
    assert.equal((await heard(client)).reset, true);
  });

for (const wait of [() => {}, () => Promise.resolve(), turn])
  test("a reset closes though FIN is on its way", async () => {
    const [client, accepted] = await joined();
    accepted.on("error", (error) => assert.fail(error));
    const closed = once(accepted, "close");
    accepted.end("x");
    await wait();
    reset(accepted);
    await closed;
    client.destroy();
  });
