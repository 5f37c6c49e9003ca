// A server of its own process: HTTPS with an authority of its own, and a port that says a line. Told by its parent's end.
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server } from "node:net";
import { Authority } from "../src/egress/http/authority.ts";

const MIB = Buffer.alloc(1024 * 1024, "x");

const authority = await Authority.create();
const https = createHttpsServer(
  {
    SNICallback: (name, done) => {
      authority.contextFor(name).then(
        (context) => done(null, context),
        (error) => done(error),
      );
    },
  },
  (request, response) => {
    response.on("error", () => {});
    const mebibytes = Number(/\/big\/(\d+)/.exec(request.url ?? "")?.[1] ?? 0);
    if (mebibytes === 0) return void response.end("yes");
    response.setHeader("content-length", mebibytes * MIB.length);
    let left = mebibytes;
    const more = (): void => {
      while (left > 0) {
        left -= 1;
        if (!response.write(MIB)) return;
      }
      response.end();
    };
    response.on("drain", more);
    more();
  },
);
https.keepAliveTimeout = 60_000;
const line = createServer((socket) => {
  socket.on("error", () => {});
  socket.end("a line\n");
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as AddressInfo).port;
}

process.send?.({ pem: authority.pem, https: await listen(https), line: await listen(line) });
process.on("disconnect", () => process.exit());
