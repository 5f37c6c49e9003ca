import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { labelControl, readLabel } from "./lsm.ts";

const base = mkdtempSync(join(tmpdir(), "callgate-lsm-"));
after(() => rmSync(base, { recursive: true }));

function root(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(base, "root-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const CONTEXT = "system_u:system_r:container_t:s0:c1,c2";
const cases: readonly [
  what: string,
  files: Record<string, string>,
  asked: string,
  evidence: string,
  boolean,
][] = [
  [
    "enforced",
    { "proc/7/attr/current": "callgate (enforce)\n" },
    "callgate",
    "AppArmor label `callgate`, enforced",
    true,
  ],
  [
    "only noted",
    { "proc/7/attr/current": "callgate (complain)\n" },
    "callgate",
    "AppArmor label `callgate`, not enforced",
    false,
  ],
  [
    "none",
    { "proc/7/attr/current": "unconfined\n" },
    "callgate",
    "AppArmor label `unconfined`, not enforced",
    false,
  ],
  [
    "of another",
    { "proc/7/attr/current": "other (enforce)\n" },
    "callgate",
    "AppArmor label `other`, enforced; `callgate` was asked for",
    false,
  ],
  [
    "hidden by a second module",
    { "proc/7/attr/current": CONTEXT, "proc/7/attr/apparmor/current": "callgate (enforce)\n" },
    "callgate",
    "AppArmor label `callgate`, enforced",
    true,
  ],
  [
    "of SELinux",
    { "proc/7/attr/current": `${CONTEXT}\0`, "sys/fs/selinux/enforce": "1" },
    CONTEXT,
    `SELinux label \`${CONTEXT}\`, enforced`,
    true,
  ],
  [
    "of a permissive SELinux",
    { "proc/7/attr/current": `${CONTEXT}\0`, "sys/fs/selinux/enforce": "0" },
    CONTEXT,
    `SELinux label \`${CONTEXT}\`, not enforced`,
    false,
  ],
  ["empty", { "proc/7/attr/current": "" }, "callgate", "no security module labels processes here", false],
  ["absent", {}, "callgate", "no security module labels processes here", false],
];
for (const [what, files, asked, evidence, holds] of cases) {
  test(`a label that is ${what}`, () => {
    assert.deepEqual(labelControl(7, asked, root(files)), {
      state: holds ? "enforced" : "unavailable",
      basis: "verified",
      evidence,
    });
  });
}

test("SELinux's unconfined domain is not confinement", () => {
  const context = "unconfined_u:unconfined_r:unconfined_t:s0";
  const files = { "proc/7/attr/current": context, "sys/fs/selinux/enforce": "1" };
  assert.deepEqual(readLabel(7, root(files)), { module: "SELinux", label: context, enforced: false });
});
