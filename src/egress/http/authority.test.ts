import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, createServer, type PeerCertificate, type TLSSocket } from "node:tls";
import { Authority, LEAVES_MAX } from "./authority.ts";

const DAY_MS = 24 * 3_600_000;

/** The leaf that a client is shown for `name`, after it has verified it. */
async function shown(authority: Authority, name: string): Promise<PeerCertificate> {
  const server = createServer({
    SNICallback: (asked, done) => void authority.contextFor(asked).then((context) => done(null, context)),
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client: TLSSocket = connect({ host: "127.0.0.1", port, servername: name, ca: authority.pem });
  try {
    await once(client, "secureConnect");
    return client.getPeerCertificate();
  } finally {
    client.destroy();
    server.close();
  }
}

test("the authority may sign leaves and nothing below them, for 30 days", async () => {
  const { pem } = await Authority.create();
  const certificate = new X509Certificate(pem);
  assert.equal(certificate.ca, true);
  assert.ok(certificate.verify(certificate.publicKey));
  const { validFromDate, validToDate } = certificate;
  assert.ok(Math.abs(validFromDate.getTime() - (Date.now() - 3_600_000)) < 60_000);
  assert.ok(Math.abs(validToDate.getTime() - (Date.now() + 30 * DAY_MS)) < 60_000);
  assert.match(certificate.serialNumber, /^[4-7]/, "positive");
});

test("no two authorities are one", async () => {
  const [one, other] = [await Authority.create(), await Authority.create()];
  await assert.rejects(
    shown({ pem: other.pem, contextFor: (name: string) => one.contextFor(name) } as Authority, "a.test"),
  );
});

test("a leaf is accepted for its name, and for no other", async () => {
  const authority = await Authority.create();
  const leaf = await shown(authority, "api.example.com");
  assert.equal(leaf.subjectaltname, "DNS:api.example.com");
  assert.deepEqual(leaf.ext_key_usage, ["1.3.6.1.5.5.7.3.1"]);
  assert.ok(Math.abs(new Date(leaf.valid_to).getTime() - (Date.now() + 7 * DAY_MS)) < 60_000);
  const parsed = new X509Certificate(leaf.raw);
  assert.equal(parsed.ca, false);
  assert.equal(parsed.checkHost("api.example.com"), "api.example.com");
  assert.equal(parsed.checkHost("www.example.com"), undefined);
  const again = await shown(authority, "other.example.com");
  assert.notEqual(again.serialNumber, leaf.serialNumber);
});

test("a name of 253 characters is served", async () => {
  const authority = await Authority.create();
  const name = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`;
  assert.equal((await shown(authority, name)).subjectaltname, `DNS:${name}`);
});

test("a leaf is made once for a name, and no more than LEAVES_MAX are kept", async () => {
  const authority = await Authority.create();
  const first = await authority.contextFor("0.test");
  for (let at = 1; at < LEAVES_MAX; at += 1) await authority.contextFor(`${at}.test`);
  assert.equal(await authority.contextFor("0.test"), first, "all of them are kept");
  const second = await authority.contextFor("1.test");
  await authority.contextFor("one-more.test"); // The one that was used longest ago, 2.test, goes.
  assert.equal(await authority.contextFor("0.test"), first);
  assert.equal(await authority.contextFor("1.test"), second);
  for (let at = 0; at < LEAVES_MAX; at += 1) await authority.contextFor(`more-${at}.test`);
  assert.notEqual(await authority.contextFor("0.test"), first);
});

test("an https client accepts it", async () => {
  const authority = await Authority.create();
  const { createServer: createHttps } = await import("node:https");
  const server = createHttps(
    { SNICallback: (asked, done) => void authority.contextFor(asked).then((context) => done(null, context)) },
    (_request, response) => response.end("hello"),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    const request = get({ host: "127.0.0.1", port, servername: "a.test", ca: authority.pem, agent: false });
    const [response] = await once(request, "response");
    assert.equal(response.statusCode, 200);
    response.resume();
    await once(response, "end");
  } finally {
    server.close();
  }
});

test("OpenSSL verifies a leaf strictly", async (t) => {
  if (spawnSync("openssl", ["version"]).status !== 0) return t.skip("openssl is not there");
  const authority = await Authority.create();
  const leaf = await shown(authority, "api.example.com");
  const folder = mkdtempSync(join(tmpdir(), "callgate-authority-"));
  try {
    writeFileSync(join(folder, "ca.pem"), authority.pem);
    writeFileSync(join(folder, "leaf.pem"), new X509Certificate(leaf.raw).toString());
    const verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.example.com"];
    const files = ["-CAfile", join(folder, "ca.pem"), join(folder, "leaf.pem")];
    const { status, stdout, stderr } = spawnSync("openssl", [...verify, ...files], { encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
    const text = spawnSync("openssl", ["x509", "-in", join(folder, "ca.pem"), "-noout", "-text"], {
      encoding: "utf8",
    });
    assert.match(text.stdout, /CA:TRUE, pathlen:0/);
    assert.match(text.stdout, /Certificate Sign, CRL Sign/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
