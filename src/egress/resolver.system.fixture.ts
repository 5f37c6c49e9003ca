import { setTimeout as sleep } from "node:timers/promises";
import { startDnsServer } from "./dns-server.fixture.ts";
import { systemResolver } from "./resolver.ts";

/** In a network of its own, whose resolv.conf names 127.0.0.1: asks for names that stall, and for others beside them. */
const STALLING = Array.from({ length: 16 }, (_, at) => `s${at}.example`);
await using _server = await startDnsServer({
  port: 53,
  answers: new Map([["fast.example", ["192.0.2.1"]]]),
  silent: (name) => STALLING.includes(name),
});
const resolver = systemResolver({ hosts: "/nonexistent/hosts", sources: process.argv[2] ?? "" });
const controller = new AbortController();
const told = async (name: string): Promise<string> =>
  await resolver.resolve(name, controller.signal).then(
    (addresses) => addresses.join(),
    ({ message }: Error) => message,
  );
const stalling = STALLING.map(told);
await sleep(200);
for (const name of ["fast.example", "none.example"]) console.log(`${name}: ${await told(name)}`);
controller.abort();
for (const why of await Promise.all(stalling)) console.log(`stalls: ${why}`);
