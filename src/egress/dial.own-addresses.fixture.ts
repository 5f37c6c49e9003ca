import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import { dial } from "./dial.ts";

/** Dials a listener of this host by each address that is given; prints what came of it, and how often it was reached. */
let reached = 0;
const server = createServer((socket) => {
  reached += 1;
  socket.on("error", () => {}).end();
}).listen(0);
await once(server, "listening");
const { port } = server.address() as AddressInfo;
for (const word of process.argv.slice(2)) {
  const [address = "", mode] = word.split(",");
  const rule = mode === "private" ? { allowPrivate: true as const } : {};
  const resolver = { resolve: async () => [address] };
  const { signal } = new AbortController();
  const said = await dial({ name: "a.example", port, rule, resolver, signal, connectMs: 5_000 }).then(
    ({ socket }) => {
      socket.destroy();
      return "connected";
    },
    (error: Error) => error.message,
  );
  console.log(`${word}: ${said}`);
}
await setTimeout(20);
console.log(`reached ${reached} times`);
server.close();
