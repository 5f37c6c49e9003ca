import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { readAuthorities } from "./authorities.ts";
import { refuses } from "./gate-error.fixture.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

function project(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "callgate-authorities-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
  return root;
}

describe("readAuthorities", () => {
  it("reads files of certificates", (t) => {
    const root = project(t, { "a.pem": PEM, "b.pem": `${PEM}\n${PEM}` });
    const paths = ["a.pem", "b.pem"];
    assert.deepEqual(readAuthorities({ root, config: undefined, paths }), [PEM, `${PEM}\n${PEM}`]);
  });

  it("refuses all else, at the line that names it", (t) => {
    const root = project(t, {
      "callgate.yaml": "version: 1\negress:\n  authorities:\n    - a.pem\n    - bad.pem\n",
      "a.pem": PEM,
      "bad.pem": `${PEM}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n`,
      "large.pem": PEM.repeat(20_000),
    });
    const read = (path: string) => () =>
      readAuthorities({ root, config: "callgate.yaml", paths: ["a.pem", path] });
    const cases: readonly [path: string, message: RegExp][] = [
      ["bad.pem", /`bad\.pem` is not a file of PEM certificates/],
      ["missing.pem", /`missing\.pem` cannot be read \(ENOENT\)/],
      ["large.pem", /larger than 1048576 bytes/],
    ];
    for (const [path, message] of cases)
      refuses(read(path), {
        code: "ERR_CONFIG_INVALID",
        message,
        at: "callgate.yaml:5:7",
        remedy: /BEGIN CERTIFICATE/,
      });
  });
});
