import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Authority } from "./http/authority.ts";
import { JAVA_PASSWORD } from "./java-keystore.ts";
import { trustFiles } from "./trust-files.ts";

const folder = mkdtempSync(join(tmpdir(), "callgate-trust-"));
after(() => rmSync(folder, { recursive: true }));

const [system, ours, company] = await Promise.all([
  Authority.create(),
  Authority.create(),
  Authority.create(),
]);
const paths = { bundle: join(folder, "system.crt"), java: join(folder, "cacerts") };
writeFileSync(paths.bundle, `# Some Root\r\n${system.pem.replaceAll("\n", "\r\n")}`);
writeFileSync(paths.java, "");
const absent = join(folder, "absent");

function fresh(): string {
  return mkdtempSync(join(folder, "files-"));
}

function blocks(path: string): string[] {
  return readFileSync(path, "latin1").match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
}

test("the bundle holds the system's roots and ours, each once", () => {
  const { bundle } = trustFiles(fresh(), [ours.pem, company.pem + ours.pem], paths);
  assert.deepEqual(
    blocks(bundle).map((pem) => new X509Certificate(pem).fingerprint256),
    [system, ours, company].map(({ pem }) => new X509Certificate(pem).fingerprint256),
  );
  assert.equal(statSync(bundle).mode & 0o7777, 0o444);
});

test("a file is written once, named by what it holds, and no draft is left", () => {
  const there = fresh();
  const first = trustFiles(there, [ours.pem], paths);
  const { ino } = statSync(first.bundle);
  assert.deepEqual(trustFiles(there, [ours.pem], paths), first);
  assert.equal(statSync(first.bundle).ino, ino);
  assert.notEqual(trustFiles(there, [company.pem], paths).bundle, first.bundle);
  assert.deepEqual(
    readdirSync(there).filter((name) => name.startsWith(".")),
    [],
  );
  assert.equal(readdirSync(there).length, 4);
});

test("a host without a bundle or without Java gets what it can", () => {
  const files = trustFiles(fresh(), [ours.pem], { bundle: absent, java: absent });
  assert.equal(blocks(files.bundle).length, 1);
  assert.equal("java" in files, false);
});

test("every ecosystem's variable points where the bundle is laid", () => {
  const { environment } = trustFiles(fresh(), [ours.pem], paths);
  for (const name of ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"])
    assert.equal(environment[name], "/etc/ssl/certs/ca-certificates.crt");
  assert.equal(Object.keys(environment).length, 11);
});

test("Java reads its trust store, and refuses one that was changed", (t) => {
  if (spawnSync("keytool", ["-help"]).error !== undefined) return t.skip("keytool is not there");
  const { java = "" } = trustFiles(fresh(), [ours.pem], paths);
  const list = (path: string) =>
    spawnSync("keytool", ["-J-Xmx64m", "-list", "-keystore", path, "-storepass", JAVA_PASSWORD], {
      encoding: "utf8",
    });
  const { status, stdout, stderr } = list(java);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /2 entries/);
  for (const { pem } of [system, ours]) assert.ok(stdout.includes(new X509Certificate(pem).fingerprint256));
  const changed = readFileSync(java);
  changed[40] = (changed[40] ?? 0) ^ 1;
  writeFileSync(absent, changed);
  assert.notEqual(list(absent).status, 0);
  rmSync(absent);
});
