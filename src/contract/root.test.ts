import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatRoot, parseRoot } from "./root.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("a root file system by its name", () => {
  const good = [
    "host",
    "folder:/srv/root",
    "folder:a b",
    "oci:images/app",
    `oci:images/app@${DIGEST}`,
    `image:registry.example:5000/team/app@${DIGEST}`,
  ];
  for (const text of good) {
    test(`\`${text}\` is read and written back`, () => assert.equal(formatRoot(parseRoot(text)), text));
  }

  const bad = [
    "",
    "hosts",
    "folder:",
    "oci:",
    "oci:images/app@sha256:12",
    "image:debian:12",
    "image:debian",
    `image:debian:12@${DIGEST}`,
    `image:-x@${DIGEST}`,
    "folder:a\nb",
    `folder:${"x".repeat(4096)}`,
  ];
  for (const text of bad) {
    test(`\`${text.slice(0, 40)}\` is refused`, () => {
      assert.throws(() => parseRoot(text), { code: "ERR_USAGE" });
    });
  }
});
