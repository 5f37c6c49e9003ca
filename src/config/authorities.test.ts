import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { authoritiesIn } from "./authorities.ts";
import { refuses } from "./gate-error.fixture.ts";
import { snapshotProject } from "./snapshot.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

function project(t: TestContext, names: string, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "callgate-authorities-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const config = `version: 1\ncatalog: []\negress:\n  authorities:\n${names}`;
  for (const [path, text] of Object.entries({ "callgate.yaml": config, ...files }))
    writeFileSync(join(root, path), text);
  return root;
}

const read = (root: string): readonly string[] => authoritiesIn(snapshotProject(root, "callgate.yaml"));

describe("authorities of a project", () => {
  it("are files of certificates, and part of what is trusted", (t) => {
    const root = project(t, "    - a.pem\n    - b.pem\n", { "a.pem": PEM, "b.pem": `${PEM}\n${PEM}` });
    assert.deepEqual(read(root), [PEM, `${PEM}\n${PEM}`]);
    const before = snapshotProject(root, "callgate.yaml").digest;
    writeFileSync(join(root, "b.pem"), PEM);
    assert.notEqual(snapshotProject(root, "callgate.yaml").digest, before);
  });

  it("are nothing else, and the line that names it is told", (t) => {
    const root = project(t, "    - a.pem\n    - bad.pem\n", {
      "a.pem": PEM,
      "bad.pem": `${PEM}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n`,
    });
    refuses(() => read(root), {
      code: "ERR_CONFIG_INVALID",
      message: /`bad\.pem` is not a file of PEM certificates/,
      at: "callgate.yaml:6:7",
      remedy: /BEGIN CERTIFICATE/,
    });
  });

  it("may be many, with something else at their end that is found at once", { timeout: 10_000 }, (t) => {
    const many = `${PEM}\n`.repeat(200);
    const root = project(t, "    - many.pem\n    - bad.pem\n", {
      "many.pem": many,
      "bad.pem": `${many}# end\n`,
    });
    refuses(() => read(root), { code: "ERR_CONFIG_INVALID", message: /`bad\.pem` is not a file/ });
  });

  it("have to be there, in the project, and are bounded", (t) => {
    const missing = project(t, "    - missing.pem\n", {});
    refuses(() => read(missing), {
      code: "ERR_CONFIG_NOT_FOUND",
      message: /no file `missing\.pem`, which `egress\.authorities` names/,
    });
    const leaving = project(t, "    - link.pem\n", {});
    symlinkSync("/etc/hosts", join(leaving, "link.pem"));
    refuses(() => read(leaving), { code: "ERR_CONFIG_INVALID", message: /a link that leaves the project/ });
    const large = project(t, "    - large.pem\n", { "large.pem": PEM.repeat(20_000) });
    refuses(() => read(large), { code: "ERR_CONFIG_INVALID", message: /larger than 1 MiB/ });
  });
});
