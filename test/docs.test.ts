import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseManifest } from "../src/catalog/manifest.ts";
import { parseNetText } from "../src/catalog/network-text.ts";
import { parseCredentials } from "../src/config/credentials.ts";
import { ERRORS } from "../src/contract/errors.ts";
import { openGate } from "../src/open-gate.ts";
import { parityTable } from "../src/sandbox/drivers/parity.ts";
import { createDrivers } from "../src/sandbox/drivers/registry.ts";
import { createProject } from "./project.fixture.ts";

const ROOT = join(import.meta.dirname, "..");

test("docs/errors.md has every code with its exit code and meaning, and no other", () => {
  const rows = readFileSync(join(ROOT, "docs/errors.md"), "utf8").matchAll(
    /^\| `(ERR_\w+)` +\| (\d+) +\| (.+?) +\| (.+?) +\|$/gm,
  );
  const documented = Object.fromEntries(
    [...rows].map(([, code = "", exit, summary]) => [code, { exit: Number(exit), summary }]),
  );
  assert.deepEqual(documented, { ...ERRORS });
});

test("every code is used, and every code that is used is known", () => {
  const text = globSync("src/**/*.ts", { cwd: ROOT })
    .filter((file) => !file.endsWith(".test.ts") && !file.endsWith("contract/errors.ts"))
    .map((file) => readFileSync(join(ROOT, file), "utf8"))
    .join("\n");
  const used = new Set([...text.matchAll(/"(ERR_[A-Z_]+)"/g)].map(([, code]) => code));
  // Node's own codes appear where its errors are told apart.
  const ours = [...used].filter((code) => code !== undefined && code in ERRORS);
  assert.deepEqual(
    Object.keys(ERRORS).filter((code) => !ours.includes(code)),
    [],
  );
});

test("links between the documents lead somewhere", () => {
  for (const file of globSync("{*.md,docs/*.md,examples/*/*.md}", { cwd: ROOT })) {
    const folder = join(ROOT, file, "..");
    for (const [, target = ""] of readFileSync(join(ROOT, file), "utf8").matchAll(
      /\]\((?!https?:|#)([^)#]+)/g,
    )) {
      assert.ok(globSync(target, { cwd: folder }).length > 0, `${file} links to ${target}`);
    }
  }
});

test("the README's tool runs, and its policy is valid beside it", async () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const [manifest = ""] = /(?<=```yaml\n)[^`]+/.exec(readme) ?? [];
  const [policy = ""] = /(?<=```cedar\n)[^`]+/.exec(readme) ?? [];
  using project = createProject({
    "callgate.yaml": "version: 1\n",
    "tools/count.yaml": manifest,
    "policies/readme.cedar": `${policy}\n@id("all") permit (principal is User, action, resource);\n`,
    "lines.txt": "a\nb\n",
  });
  await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  const result = await gate.call({ tool: "text.count", input: { path: "lines.txt" } });
  assert.equal(result.stdout, "2 lines.txt\n");
});

test("docs/drivers.md says what the drivers' own flags say", () => {
  const file = join(ROOT, "docs/drivers.md");
  const folder = mkdtempSync(join(tmpdir(), "callgate-drivers-"));
  try {
    const table = parityTable(createDrivers({ folder, user: { uid: 65533, gid: 65533 } }));
    const text = readFileSync(file, "utf8");
    const renewed = text.replace(
      /(<!-- parity:.*-->\n)[\s\S]*?(<!-- end of parity -->)/,
      `$1\n${table}\n\n$2`,
    );
    if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(file, renewed);
    else assert.equal(text, renewed);
    // It cannot pass by writing nothing.
    for (const word of ["bubblewrap", "runsc", "docker", "`gvisor`", "probed"])
      assert.ok(table.includes(word), word);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the rules and the credentials of docs/egress.md are read as they stand", () => {
  const text = readFileSync(join(ROOT, "docs/egress.md"), "utf8");
  const [network = "", credentials = "", kinds = ""] = [...text.matchAll(/(?<=```yaml\n)[^`]+/g)].map(
    ([block]) => block,
  );
  const manifest = `name: a.b
description: d
tier: medium
input: { type: object, additionalProperties: false }
run: { command: [x] }
sandbox:
${network.replace(/^(?=.)/gm, "  ")}`;
  const rules = parseManifest(manifest, "egress.md").sandbox.network;
  assert.equal(rules.mode === "names" && rules.allow.length, 4);
  const known = parseCredentials(credentials.replace(/ #.*$/gm, ""), "egress.md");
  assert.deepEqual([...known.keys()], ["github-read"]);
  const ofEachKind = [...parseCredentials(kinds, "egress.md").values()].map(({ how }) => how.kind);
  assert.deepEqual(
    ["bearer", "basic", "header", "query", "sigv4", "placeholder"].filter(
      (kind) => !ofEachKind.some((one) => one === kind),
    ),
    [],
  );
});

test("the `--net` values of the documents are taken as they stand", () => {
  for (const file of ["README.md", "docs/egress.md"]) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const values = [...text.matchAll(/^ {4}\$ callgate exec .*?--net (\S+)/gm)].map(
      ([, value = ""]) => value,
    );
    assert.ok(values.length > 0, file);
    for (const value of values) parseNetText(value);
  }
});

test("the policy of docs/egress.md is valid, and forbids what it says", async () => {
  const text = readFileSync(join(ROOT, "docs/egress.md"), "utf8");
  const [policy = ""] = /(?<=```cedar\n)[^`]+/.exec(text) ?? [];
  using project = createProject({
    "callgate.yaml": "version: 1\n",
    "policies/egress.cedar": `${policy.replace("principal is Job", "principal is User")}\n@id("all") permit (principal, action, resource);\n`,
    "policies/job.cedar": policy.replace("jobs-stay-inside", "as-it-stands"),
  });
  await using gate = await openGate({ workingDirectory: project.workspace, state: project.state });
  const call = async (hosts: readonly string[]): Promise<string> => {
    const input = { command: ["true"], hosts: [...hosts], network: hosts.length > 0 ? "names" : "none" };
    return (await gate.call({ tool: "callgate.exec", input })).outcome;
  };
  assert.deepEqual([await call([]), await call(["example.com"])], ["exited", "forbidden"]);
});
