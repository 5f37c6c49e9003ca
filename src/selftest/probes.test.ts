import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { AREAS, type Probe } from "./probe.ts";
import { PROBES } from "./probes.ts";
import { USABILITY } from "./usability.ts";

/** What was promised at least. */
const PROBES_MIN = 90;
const USABILITY_MIN = 15;

const DOCUMENT = join(import.meta.dirname, "../../docs/selftest.md");
const LIST_BEGINS = "<!-- The rest is written by `CALLGATE_GOLDEN=write` from src/selftest/probes. -->\n";

describe("the list of probes", () => {
  test("names each once, in every area", () => {
    const ids = [...PROBES, ...USABILITY].map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(new Set(PROBES.map(areaOf)), new Set(Object.keys(AREAS)));
    assert.ok(PROBES.length >= PROBES_MIN, `${PROBES.length} probes`);
    assert.ok(USABILITY.length >= USABILITY_MIN, `${USABILITY.length} usability probes`);
  });

  test("docs/selftest.md has every probe, and no other", () => {
    const text = readFileSync(DOCUMENT, "utf8");
    const head = text.slice(0, text.indexOf(LIST_BEGINS) + LIST_BEGINS.length);
    assert.ok(text.includes(LIST_BEGINS));
    const wanted = `${head}${list()}`;
    if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(DOCUMENT, wanted);
    else assert.deepEqual(text.split("\n"), wanted.split("\n"));
  });
});

function list(): string {
  const areas = Object.entries(AREAS).map(([area, meaning]) =>
    section(
      area,
      `When one gets through: ${meaning}.`,
      PROBES.filter((probe) => areaOf(probe) === area),
    ),
  );
  return [...areas, section("usability", "What has to work inside.", USABILITY)].join("");
}

function section(
  name: string,
  about: string,
  rows: readonly { readonly id: string; readonly title: string; readonly ownKernel?: string }[],
): string {
  const lines = rows.map(({ id, title }) => `- \`${id}\`: ${title}\n`);
  const byReason = Map.groupBy(rows, ({ ownKernel }) => ownKernel);
  const notes = [...byReason].flatMap(([reason, probes]) => {
    const names = probes.map(({ id }) => `\`${id.slice(name.length + 1)}\``).join(", ");
    return reason === undefined ? [] : [`\nBy the host alone, since ${reason}: ${names}.\n`];
  });
  return `\n### ${name}\n\n${about}\n\n${lines.join("")}${notes.join("")}`;
}

function areaOf({ id }: Pick<Probe, "id">): string {
  return id.slice(0, id.indexOf("."));
}
