import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { JoinedNetwork } from "./driver.ts";
import { authorityFiles } from "./mounts.ts";

test("authorities are laid over files of that root, and never through a link out of it", () => {
  const root = mkdtempSync(join(tmpdir(), "callgate-root-"));
  try {
    const joined = { authorities: "/ours.pem", javaAuthorities: "/ours.jks" } as JoinedNetwork;
    assert.deepEqual(authorityFiles(joined, root), []);
    mkdirSync(join(root, "etc/ssl/certs/java"), { recursive: true });
    writeFileSync(join(root, "etc/ssl/certs/ca-certificates.crt"), "theirs");
    symlinkSync("/etc/passwd", join(root, "etc/ssl/certs/java/cacerts"));
    assert.deepEqual(authorityFiles(joined, root), [
      { path: "/ours.pem", point: "/etc/ssl/certs/ca-certificates.crt" },
    ]);
  } finally {
    rmSync(root, { recursive: true });
  }
});
