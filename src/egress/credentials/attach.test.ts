import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { credentialOf, SECRET } from "./credential.fixture.ts";
import type { CredentialKind } from "./kinds.ts";

/** A server that takes a request where `judge` does, and the answer to one that a credential was attached to. */
async function statusOf(
  t: TestContext,
  how: CredentialKind,
  judge: (request: IncomingMessage, body: Buffer) => boolean,
  options: { readonly secret?: string; readonly target?: string; readonly body?: string } = {},
): Promise<number | undefined> {
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      response.statusCode = judge(request, body) ? 200 : 401;
      response.end();
    });
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;
  const { target = "/things?a=1", body = "" } = options;
  const made = { method: "POST", target, host, headers: [["host", host]] as [string, string][] };
  const credential = credentialOf(how, {
    spec: { host },
    ...(options.secret === undefined ? {} : { secret: options.secret }),
  });
  await credential.attach(made, Buffer.from(body));
  const asked = send({ host: "127.0.0.1", port, method: made.method, path: made.target, agent: false });
  for (const [name, value] of made.headers) asked.setHeader(name, value);
  asked.end(body);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  answer.resume();
  return answer.statusCode;
}

test("a server takes what was attached: bearer", async (t) => {
  const judge = ({ headers }: IncomingMessage): boolean => headers.authorization === `Bearer ${SECRET}`;
  assert.equal(await statusOf(t, { kind: "bearer" }, judge), 200);
  assert.equal(await statusOf(t, { kind: "bearer" }, judge, { secret: "another-one" }), 401);
});

test("a server takes what was attached: basic", async (t) => {
  const judge = ({ headers }: IncomingMessage): boolean => {
    const [scheme, word = ""] = headers.authorization?.split(" ") ?? [];
    return scheme === "Basic" && Buffer.from(word, "base64").toString() === "ada:pass:wörd";
  };
  const secret = "pass:wörd";
  assert.equal(await statusOf(t, { kind: "basic", user: "ada" }, judge, { secret }), 200);
  assert.equal(await statusOf(t, { kind: "basic", user: "bob" }, judge, { secret }), 401);
});

test("a server takes what was attached: query", async (t) => {
  const secret = "a+b/c d&e=f";
  const judge = ({ url = "" }: IncomingMessage): boolean => {
    const { searchParams } = new URL(url, "http://x");
    return searchParams.get("a") === "1" && searchParams.getAll("key").join() === secret;
  };
  assert.equal(await statusOf(t, { kind: "query", parameter: "key" }, judge, { secret }), 200);
  const target = "/?a=1&key=own";
  assert.equal(await statusOf(t, { kind: "query", parameter: "key" }, judge, { secret, target }), 200);
});

/** By the specification and with none of the gate's code: the request as it came must carry its own signature. */
function isSigned(
  secretAccessKey: string,
  { method, url = "", headers }: IncomingMessage,
  body: Buffer,
): boolean {
  const [, day, signed = "", signature] =
    /Credential=[^/]+\/(\d{8})\/eu-west-1\/things\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      headers.authorization ?? "",
    ) ?? [];
  if (day === undefined) return false;
  const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");
  const hmac = (key: string | Buffer, data: string): Buffer =>
    createHmac("sha256", key).update(data).digest();
  const [path = "", query = ""] = url.split("?");
  const lines = signed.split(";").map((name) => `${name}:${String(headers[name])}\n`);
  const twice = path.split("/").map(encodeURIComponent).join("/");
  const canonical = [method, twice, query.split("&").sort().join("&"), lines.join(""), signed, sha256(body)];
  const scope = `${day}/eu-west-1/things/aws4_request`;
  const text = `AWS4-HMAC-SHA256\n${String(headers["x-amz-date"])}\n${scope}\n${sha256(canonical.join("\n"))}`;
  const key = ["eu-west-1", "things", "aws4_request"].reduce(hmac, hmac(`AWS4${secretAccessKey}`, day));
  return hmac(key, text).toString("hex") === signature;
}

test("a server takes what was attached: sigv4", async (t) => {
  const how = { kind: "sigv4", region: "eu-west-1", service: "things" } as const;
  const secret = JSON.stringify({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "the/secret+key" });
  const options = { secret, target: "/a%20b/c?z=1+2&b=%2f&b=1", body: "a body" };
  assert.equal(await statusOf(t, how, (...got) => isSigned("the/secret+key", ...got), options), 200);
  assert.equal(await statusOf(t, how, (...got) => isSigned("another-key", ...got), options), 401);
});
