import { AREAS, type Area } from "../../selftest/probe.ts";
import type { ProbeResult, TargetResult, UsabilityResult } from "../../selftest/run.ts";
import { count, labelled, paint } from "./output.ts";
import { visible } from "./terminal.ts";

type Row = ProbeResult | UsabilityResult;

export interface Totals {
  readonly held: number;
  readonly open: number;
  readonly broken: number;
  readonly unshown: number;
  readonly works: number;
  readonly fails: number;
  readonly untried: number;
}

const MARKS: Readonly<Record<Row["state"], "✓" | "✗" | "–">> = {
  held: "✓",
  works: "✓",
  open: "✗",
  broken: "✗",
  fails: "✗",
  unshown: "–",
  untried: "–",
};
const COLOURS = { "✓": "green", "✗": "red", "–": "dim" } as const;

export function totals({ probes, usability }: TargetResult): Totals {
  const sum = { held: 0, open: 0, broken: 0, unshown: 0, works: 0, fails: 0, untried: 0 };
  for (const { state } of [...probes, ...usability]) sum[state] += 1;
  return sum;
}

/** Every driver, every probe; what failed, in full, at the end of each. */
export function asText(results: readonly TargetResult[]): string {
  return results.map(driverText).join("\n");
}

function driverText(result: TargetResult): string {
  const head = `${paint("bold", `${result.driver}, ${result.isolation}`)}  ${visible(result.detail)}\n`;
  if (!result.usable) {
    const remedy = result.remedy === undefined ? "" : labelled("fix", result.remedy);
    return `${paint("dim", "–")} ${head}  not here, so nothing was tried\n${remedy}`;
  }
  const areas = Object.keys(AREAS).map((area) =>
    areaText(
      area,
      result.probes.filter(({ id }) => areaOf(id) === area),
    ),
  );
  const usability = areaText("usability", result.usability);
  return `${head}${areas.join("")}${usability}${failuresText(result)}\n${totalsText(result)}\n`;
}

function areaText(area: string, rows: readonly Row[]): string {
  if (rows.length === 0) return "";
  const width = Math.max(...rows.map(({ id }) => nameOf(id).length));
  const lines = rows.map((row) => {
    const mark = MARKS[row.state];
    const note = noteOf(row);
    return `  ${paint(COLOURS[mark], mark)} ${nameOf(row.id).padEnd(width)}  ${visible(row.title)}${note === "" ? "" : paint("dim", `  (${note})`)}\n`;
  });
  return `\n${paint("bold", area)}\n${lines.join("")}`;
}

/** What a mark alone does not say. */
function noteOf({ state, detail }: Row): string {
  switch (state) {
    case "held":
      return detail === "" ? "" : "refused before it ran";
    case "unshown":
      return "not shown: its control did not get through on this host";
    case "untried":
      return "not tried: this host does not have it";
    case "works":
      return "";
    case "open":
    case "broken":
    case "fails":
      return "below";
    default:
      return state satisfies never;
  }
}

function failuresText({ probes, usability }: TargetResult): string {
  const failed = [...probes, ...usability].filter(({ state }) => MARKS[state] === "✗");
  if (failed.length === 0) return "";
  const texts = failed.map((row) => {
    const head = `\n${paint("red", "✗")} ${paint("bold", row.id)}  ${visible(row.title)}\n`;
    return `${head}${labelled(row.state, row.detail)}${labelled("means", meaningOf(row))}`;
  });
  return `\n${texts.join("")}`;
}

function meaningOf({ id, state }: Row): string {
  if (state === "fails") return "ordinary programs do not work in this sandbox";
  if (state === "broken") return "nothing is known of this one, which does not count as held";
  return AREAS[areaOf(id)];
}

function totalsText(result: TargetResult): string {
  const { held, open, broken, unshown, works, fails, untried } = totals(result);
  return `${result.driver}, ${result.isolation}: ${held} held, ${open} open, ${broken} broken, ${unshown} not shown; ${works} work, ${fails} fail, ${untried} not tried`;
}

/** One line over all drivers. */
export function conclusion(results: readonly TargetResult[]): string {
  const tried = results.filter(({ usable }) => usable);
  if (tried.length === 0) return "no driver can run on this host, so nothing was shown";
  const failures = tried
    .flatMap(({ probes, usability }): readonly Row[] => [...probes, ...usability])
    .filter(({ state }) => MARKS[state] === "✗").length;
  const absent = results.length - tried.length;
  const tail = absent === 0 ? "" : `; ${count(absent, "driver")} not here`;
  const drivers = count(tried.length, "driver");
  const unshown = tried.flatMap(({ probes }) => probes).filter(({ state }) => state === "unshown").length;
  const but = unshown === 0 ? "" : `, ${count(unshown, "probe")} not shown`;
  const shown = tried.every(
    ({ probes }) => probes.length === 0 || probes.some(({ state }) => state === "held"),
  );
  if (failures === 0 && !shown) return `nothing was shown, in ${drivers}${but}${tail}`;
  return failures === 0
    ? `everything that was shown holds, in ${drivers}${but}${tail}`
    : `${count(failures, "probe")} failed, in ${drivers}${tail}`;
}

function areaOf(id: string): Area {
  return id.slice(0, id.indexOf(".")) as Area;
}

function nameOf(id: string): string {
  return id.slice(id.indexOf(".") + 1);
}
