import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { ControlName } from "../../../contract/tier.ts";
import { sandboxUser } from "../../user.ts";
import { builderCommand } from "./builder.ts";
import { identityFor } from "./identity.ts";
import { openOciBench } from "./oci.fixture.ts";
import { findRuntime } from "./probe.ts";
import { RUNTIMES } from "./runtimes.ts";

/** Not below `/tmp`, which the stage covers. */
function openFolder(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync("/var/tmp/callgate-tampered-");
  chmodSync(folder, 0o755);
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

/** A runtime that does not do as `config.json` says: the evidence must not repeat what was asked for. */
const CASES: readonly [runtime: "runc" | "runsc", control: ControlName, how: string, script: string][] = [
  ["runc", "seccomp", "ignores the filter", edit('s/"seccomp":/"unused":/')],
  ["runc", "seccomp", "loads another filter", edit('s/"valueTwo":2147483646/"valueTwo":2147483645/g')],
  ["runsc", "seccomp", "loads another filter", edit('s/"valueTwo":2147483646/"valueTwo":2147483645/g')],
  ["runc", "capabilities", "leaves a capability", edit('s/"bounding":\\[\\]/"bounding":["CAP_CHOWN"]/')],
  ["runc", "network", "shares the network", edit('s/{"type":"network"},//')],
  ["runc", "namespaces", "shares a namespace", edit('s/{"type":"ipc"},//')],
  ["runc", "environment", "passes a variable on", edit('s/"HOME=/"SECRET=1","HOME=/')],
  [
    "runc",
    "mounts",
    "mounts what nobody asked for",
    edit('s/"mounts":\\[/"mounts":[{"destination":"\\/usr\\/share","type":"tmpfs","source":"x"},/'),
  ],
  [
    "runsc",
    "seccomp",
    "ignores the filter",
    'for w do shift; [ "$w" = --oci-seccomp ] || set -- "$@" "$w"; done',
  ],
  ["runsc", "environment", "passes a variable on", edit('s/"HOME=/"SECRET=1","HOME=/')],
  ["runsc", "read_only_root", "lets the root be written", edit('s/"readonly":true/"readonly":false/')],
  ["runsc", "capabilities", "leaves a capability", edit('s/"bounding":\\[\\]/"bounding":["CAP_CHOWN"]/')],
];

function edit(expression: string): string {
  return `sed -i '${expression}' /tmp/bundle/config.json`;
}

describe("evidence is what is, not what was asked for", () => {
  for (const [runtime, control, how, script] of CASES) {
    const program = findRuntime(RUNTIMES[runtime]);
    test(`${runtime} ${how}: \`${control}\` reads unavailable`, {
      skip: program === undefined ? `${runtime} is not installed` : false,
    }, async () => {
      using place = openFolder();
      const fake = join(place.folder, runtime);
      writeFileSync(fake, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\nexec ${program} "$@"\n`, {
        mode: 0o755,
      });
      await using bench = openOciBench(runtime, { program: fake });
      await using sandbox = await bench.driver.open(bench.profile());
      const seen = (await sandbox.inspect())[control];
      assert.equal(seen.state, "unavailable", seen.evidence);
    });
  }
});

describe("the builder", () => {
  const build = (folder: string, steps: Parameters<typeof builderCommand>[1]): string => {
    const user = sandboxUser(folder);
    const [program = "", ...words] = builderCommand(identityFor(user), steps, "{}", [
      "/bin/sh",
      "-c",
      "ls /tmp/root/d; cat /proc/self/status; ls /proc",
    ]);
    const { stdout, stderr } = spawnSync(program, words, { encoding: "utf8", env: {}, cwd: "/" });
    return stdout + stderr;
  };

  test("never leaves the root through a link in what it binds", () => {
    using place = openFolder();
    const [inner, outside] = [join(place.folder, "inner"), join(place.folder, "outside")];
    for (const folder of [inner, outside]) mkdirSync(folder);
    chmodSync(outside, 0o777);
    symlinkSync(outside, join(inner, "x"));
    const text = build(place.folder, [
      { kind: "bind", point: "/d", source: inner, writable: true },
      { kind: "file", point: "/d/x/planted", content: "x" },
    ]);
    assert.deepEqual(readdirSync(outside), []);
    assert.match(text, /\/d\/x\/planted|\/d\/x/);
  });

  test("becomes a runtime that is nobody on the host, and first in a namespace of its own", () => {
    using place = openFolder();
    const text = build(place.folder, [{ kind: "folder", point: "/d/made" }]);
    assert.match(text, /^made\n/, text);
    const processes = text.split("\n").filter((line) => /^\d+$/.test(line));
    assert.ok(processes.includes("1") && processes.length <= 3, text);
  });
});
