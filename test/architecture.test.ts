import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const ROOT = resolve(import.meta.dirname, "..");

/** Folder -> what it may import beside itself, and why. A stage never imports another stage. */
const MAY_IMPORT: Readonly<Record<string, { readonly folders: readonly string[]; readonly why: string }>> = {
  contract: { folders: [], why: "the nouns everything speaks rest on nothing of ours" },
  store: { folders: ["contract"], why: "keeps bytes and knows no stage" },
  config: { folders: ["contract"], why: "what files say, before anything acts on it" },
  catalog: {
    folders: ["contract", "config"],
    why: "manifests are configuration, parsed by the same document reader",
  },
  intent: { folders: ["contract"], why: "pure: a decision depends on what it is given" },
  capability: { folders: ["contract"], why: "stage 2 knows callers, not tools' insides" },
  sandbox: { folders: ["contract"], why: "stage 3 takes a capability and a profile, whoever made them" },
  egress: {
    folders: ["contract"],
    why: "the edge of a sandbox's network: it takes rules, whoever made them",
  },
  audit: { folders: ["contract", "store"], why: "stage 4 reaches a database only through the store" },
  selftest: {
    folders: ["contract", "capability", "sandbox"],
    why: "attacks stage 3 alone: no call, no decision, and the one capability that needs neither",
  },
  surfaces: {
    folders: ["contract", "config", "catalog", "intent", "audit", "sandbox", "store", "selftest", "gate"],
    why: "adapters: they ask the gate to act, and read what stages can explain",
  },
  gate: {
    folders: ["contract", "config", "catalog", "intent", "capability", "sandbox", "egress", "audit"],
    why: "the files at the root of src join the stages; nothing else does",
  },
};

/** Packages that one folder owns. */
const PACKAGE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  "@cedar-policy/cedar-wasm": ["intent"],
  "node:sqlite": ["store"],
  commander: ["surfaces"],
  yaml: ["config"],
  // The gate starts one program outside of a sandbox: the owner's own command that gives a credential.
  "node:child_process": ["sandbox", "egress", "selftest", "surfaces", "gate"],
};

interface Edge {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** Every import, static and dynamic, of a file of ours or of a package. */
function edgesOf(file: string, text: string): readonly Edge[] {
  const from = folderOf(file);
  const edges: Edge[] = [];
  for (const match of text.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)"([^"]+)"/g)) {
    const specifier = match[1] ?? "";
    const to = specifier.startsWith(".")
      ? folderOf(relative(ROOT, resolve(ROOT, dirname(file), specifier)))
      : specifier;
    edges.push({ file, from, to });
  }
  return edges;
}

function folderOf(file: string): string {
  const [, folder, rest] = /^src\/([^/]+)(\/)?/.exec(file) ?? [];
  return rest === undefined ? "gate" : (folder ?? "gate");
}

function forbidden(edges: readonly Edge[]): readonly string[] {
  return edges.flatMap(({ file, from, to }) => {
    const owners = Object.entries(PACKAGE_OWNERS).find(
      ([name]) => to === name || to.startsWith(`${name}/`),
    )?.[1];
    if (owners !== undefined)
      return owners.includes(from) ? [] : [`${file}: ${to} belongs to ${owners.join(", ")}`];
    if (to === from || !(to in MAY_IMPORT)) return [];
    return MAY_IMPORT[from]?.folders.includes(to) ? [] : [`${file}: ${from} may not import ${to}`];
  });
}

function sources(): readonly string[] {
  return globSync("src/**/*.ts", { cwd: ROOT }).filter(
    (file) => !/\.(?:test|fixture)\.ts$/.test(file) && !file.includes("/fixtures/"),
  );
}

test("imports go one way: surface, gate, stages, contract", () => {
  const edges = sources().flatMap((file) => edgesOf(file, readFileSync(join(ROOT, file), "utf8")));
  assert.deepEqual(forbidden(edges), []);
  // It cannot pass by seeing nothing.
  assert.ok(edges.length > 300, `saw only ${edges.length} imports`);
  const seen = new Set(edges.map((edge) => edge.from));
  for (const folder of Object.keys(MAY_IMPORT)) assert.ok(seen.has(folder), `no import seen in ${folder}`);
});

test("a planted import is found, whichever way it is written", () => {
  const planted = [
    'import { admit } from "../capability/session.ts";',
    'import type { Judge } from "../intent/decide.ts";',
    'const { openLog } = await import("../audit/log.ts");',
    'export { Gate } from "../gate.ts";',
    'import { DatabaseSync } from "node:sqlite";',
    'import * as cedar from "@cedar-policy/cedar-wasm/nodejs";',
  ];
  for (const line of planted) {
    assert.equal(forbidden(edgesOf("src/sandbox/planted.ts", line)).length, 1, line);
  }
  assert.deepEqual(
    forbidden(edgesOf("src/sandbox/fine.ts", 'import { GateError } from "../contract/errors.ts";')),
    [],
  );
});

test("a capability and an identifier are minted in one place", () => {
  const places = (pattern: RegExp): readonly string[] =>
    sources().filter((file) => pattern.test(readFileSync(join(ROOT, file), "utf8")));
  assert.deepEqual(places(/\bas Capability\b/), ["src/capability/capability.ts"]);
  assert.deepEqual(places(/\bdrawForSelftest\b/).toSorted(), [
    "src/capability/capability.ts",
    "src/selftest/ground.ts",
  ]);
  assert.deepEqual(places(/\bas CallId\b/), ["src/contract/ids.ts"]);
  assert.deepEqual(places(/\bas Digest\b/), ["src/contract/ids.ts"]);
});

test("no default exports, and one barrel", () => {
  for (const file of sources()) {
    const text = readFileSync(join(ROOT, file), "utf8");
    assert.doesNotMatch(text, /^export default /m, file);
    if (file !== "src/index.ts") assert.doesNotMatch(text, /^export \* /m, file);
  }
});

test("no function is longer than a screen, no file than 400 lines", () => {
  for (const file of sources()) {
    const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
    const isData = /syscalls-|default-pro/.test(file);
    assert.ok(isData || lines.length <= 400, `${file} has ${lines.length} lines`);
    for (const [start, length] of functionLengths(lines)) {
      assert.ok(isData || length <= 70, `${file}:${start} is a function of ${length} lines`);
    }
  }
});

/** Functions and methods, by how far their closing brace stands at their own indentation. */
function functionLengths(lines: readonly string[]): readonly [number, number][] {
  const found: [number, number][] = [];
  for (const [index, line] of lines.entries()) {
    const opens =
      /^( *)(?:export )?(?:async )?(?:function\b|(?:static |async |get |#)*[\w#]+\()[^;]*\{$/.exec(line);
    if (opens === null || /^\s*(?:if|for|while|switch|catch)\b/.test(line)) continue;
    const end = lines.findIndex((candidate, at) => at > index && candidate === `${opens[1]}}`);
    if (end > 0) found.push([index + 1, end - index + 1]);
  }
  return found;
}
