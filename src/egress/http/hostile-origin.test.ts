import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { HttpRule } from "../../contract/network.ts";
import type { GateCredential } from "../credentials/credential.ts";
import { INFORMATION_MAX } from "./exchange.ts";
import { type HttpDoor, type HttpDoorOptions, heard, NAME, openHttpDoor } from "./http.fixture.ts";

const ALL: readonly HttpRule[] = [{ methods: ["GET", "POST"], paths: ["/**"] }];
const SECRET = 's3cr3t/ab"c+DEF==';

/** An origin that answers the same bytes to whatever comes. */
function saying(bytes: string, options: HttpDoorOptions = {}): Promise<HttpDoor> {
  const serve = (socket: Socket): void => void socket.once("data", () => socket.end(bytes, "latin1"));
  return openHttpDoor(serve, { rule: { http: ALL }, ...options });
}

async function ask(door: HttpDoor, headers: string = ""): Promise<string> {
  const socket = await door.enter();
  socket.write(`GET /a HTTP/1.1\r\nHost: ${NAME}\r\n${headers}Connection: close\r\n\r\n`);
  return await heard(socket);
}

function masking(parts: Partial<GateCredential> = {}): GateCredential {
  return {
    ...{ name: "own", host: NAME, variables: {}, placeholders: [], masksResponses: true, signsBody: false },
    ...{ secrets: [SECRET], attach: async () => {}, ...parts },
  };
}

test("an answer's own words for its status go nowhere: they may hold what Node does not send", async () => {
  await using door = await saying("HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nhi");
  assert.match(await ask(door), /^HTTP\/1\.1 200 OK\r\n[\s\S]*hi$/);
  await door.over();
  assert.equal(door.facts.filter(({ kind }) => kind === "connection").length, 1);
});

for (const status of ["000", "099", "150"])
  test(`a status that means nothing is no answer: ${status}`, async () => {
    await using door = await saying(`HTTP/1.1 ${status} x\r\ncontent-length: 0\r\n\r\n`);
    assert.match(await ask(door), /^HTTP\/1\.1 502 /);
  });

test("interim answers have an end", async () => {
  const hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
  const hinting = (count: number): Promise<HttpDoor> =>
    openHttpDoor(
      (socket) =>
        void socket.once("data", async () => {
          socket.write(hint.repeat(count));
          await sleep(50);
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        }),
      { rule: { http: ALL } },
    );
  await using door = await hinting(INFORMATION_MAX + 1);
  assert.match(await ask(door), /^HTTP\/1\.1 502 [\s\S]*does not begin/);
  await using fine = await hinting(INFORMATION_MAX);
  assert.match(await ask(fine), /^HTTP\/1\.1 200 /);
});

test("an answer with another transfer coding is not passed on", async () => {
  await using door = await saying(
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
  );
  assert.match(await ask(door), /^HTTP\/1\.1 502 /);
});

const FORMS = [
  SECRET,
  encodeURIComponent(SECRET),
  JSON.stringify(SECRET).slice(1, -1),
  Buffer.from(`x:${SECRET}`).toString("base64"),
];

for (const form of FORMS)
  test(`a secret that comes back as ${form} is masked, in a header and in a body`, async () => {
    const answer = `HTTP/1.1 200 OK\r\nlocation: /?key=${form}\r\ncontent-length: ${form.length}\r\n\r\n${form}`;
    await using door = await saying(answer, { credential: masking() });
    const said = await ask(door);
    assert.match(said, /^HTTP\/1\.1 200 /);
    assert.ok(!said.includes(form.slice(3)), said);
  });

test("the secrets of the sandbox's other credentials are masked as well", async () => {
  const answer = `HTTP/1.1 200 OK\r\ncontent-length: ${SECRET.length}\r\n\r\n${SECRET}`;
  await using door = await saying(answer, { credentials: [masking({ host: "other.test" })] });
  assert.ok(!(await ask(door)).includes(SECRET));
});

test("a part of an answer is neither asked for nor passed on where the whole has to be searched", async () => {
  let asked = "";
  const serve = (socket: Socket): void =>
    void socket.once("data", (chunk) => {
      asked = chunk.toString();
      socket.end("HTTP/1.1 206 Partial Content\r\ncontent-length: 2\r\n\r\nhi");
    });
  await using door = await openHttpDoor(serve, { rule: { http: ALL }, credential: masking() });
  assert.match(await ask(door, "Range: bytes=0-4\r\nIf-Range: x\r\n"), /^HTTP\/1\.1 502 [\s\S]*is a part/);
  assert.doesNotMatch(asked, /range/i);
});

for (const header of [
  ...[
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "X-HTTP-Method-Override: DELETE",
    "X_Original_URL: /x",
  ],
  ...["Content_Length: 5", "Transfer_Encoding: chunked"],
])
  test(`what some servers go by in place of what was judged is refused: ${header}`, async () => {
    await using door = await saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    assert.match(await ask(door, `${header}\r\n`), /^HTTP\/1\.1 403 /);
    assert.equal(door.dials(), 0);
  });

test("what only proxies say is left out", async () => {
  let asked = "";
  const serve = (socket: Socket): void =>
    void socket.once("data", (chunk) => {
      asked = chunk.toString();
      socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    });
  await using door = await openHttpDoor(serve, { rule: { http: ALL } });
  assert.match(
    await ask(door, "X-Forwarded-Host: other.test\r\nForwarded: host=x\r\nX-Mine: 1\r\n"),
    /^HTTP\/1\.1 200 /,
  );
  assert.doesNotMatch(asked, /forwarded/i);
  assert.match(asked, /x-mine: 1/i);
});
