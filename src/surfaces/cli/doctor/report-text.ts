import { paint } from "../output.ts";
import { visible } from "../terminal.ts";
import type { Finding, Report, Step } from "./finding.ts";

const LABEL_WIDTH = 10;
const NAME_WIDTH = 24;
const MARKS = { ok: "✓", missing: "✗", later: "–" } as const;
const COLOURS = { ok: "green", missing: "red", later: "dim" } as const;

/** The verdict, what to type, and what it rests on: read in that order, and left off where there is nothing to say. */
export function reportText(report: Report): string {
  const { usable, host, findings, steps } = report;
  const typed = new Set(steps.map(({ command }) => command));
  const of = (group: Finding["group"]): readonly Finding[] =>
    merged(findings.filter((finding) => finding.group === group)).map((finding) => untyped(finding, typed));
  const verdict = usable
    ? `${mark("ok")} ${paint("bold", "tools of the low and medium tiers run on this host")}`
    : `${mark("missing")} ${paint("bold", "no tool runs on this host yet")}`;
  return [
    `${verdict}\n`,
    `  ${paint("dim", host)}\n`,
    section("type this", steps.filter((step) => step.for === "needed").map(stepText)),
    section("for more", steps.filter((step) => step.for === "more").map(stepText)),
    "\n",
    ...line("tiers", of("tiers"), "later"),
    ...line("drivers", of("drivers"), "all"),
    ...line("controls", of("controls"), "missing"),
    ...line("limits", of("limits"), "all"),
    ...line("launcher", of("launcher"), "all"),
    ...line("host", of("host"), "missing"),
    ...line("here", of("folder"), "all"),
    ...line("state", of("state"), "all"),
    ...line("pool", of("pool"), "all"),
    ...line("programs", of("programs"), "missing"),
  ].join("");
}

/** Those of one kind that are told in the same words, as one. */
function merged(findings: readonly Finding[]): readonly Finding[] {
  const kept: Finding[] = [];
  for (const finding of findings) {
    const { state, detail, remedy, name } = finding;
    const at = kept.findIndex(
      (other) => other.state === state && other.detail === detail && other.remedy === remedy,
    );
    const same = kept[at];
    if (same === undefined) kept.push(finding);
    else kept[at] = { ...same, name: `${same.name}, ${name}` };
  }
  return kept;
}

/** What to do is said once: above, where it is something to type. Of a tier it is said by what it lacks. */
function untyped({ remedy, ...finding }: Finding, typed: ReadonlySet<string>): Finding {
  return remedy === undefined || finding.group === "tiers" || typed.has(remedy)
    ? finding
    : { ...finding, remedy };
}

function mark(state: Finding["state"]): string {
  return paint(COLOURS[state], MARKS[state]);
}

function row(label: string, text: string): string {
  return `${paint("dim", label.padEnd(LABEL_WIDTH))}${text}\n`;
}

/** What is well in one line, by name; below it, each by itself, what is not, or all of them where it matters how. */
function line(
  label: string,
  findings: readonly Finding[],
  apart: "missing" | "later" | "all",
): readonly string[] {
  if (findings.length === 0) return [];
  const alone = findings.filter(
    ({ state }) => apart === "all" || state === "missing" || (apart === "later" && state !== "ok"),
  );
  const well = findings.filter((finding) => !alone.includes(finding)).map(({ name }) => name);
  const first = well.length === 0 ? [] : [row(label, `${mark("ok")} ${well.join(", ")}`)];
  return [
    ...first,
    ...alone.flatMap((finding, at) => findingText(first.length === 0 && at === 0 ? label : "", finding)),
  ];
}

function findingText(label: string, { state, name, detail, remedy }: Finding): readonly string[] {
  const text = row(label, `${mark(state)} ${name.padEnd(NAME_WIDTH)}${visible(detail)}`);
  return remedy === undefined
    ? [text]
    : [text, row("", `  ${paint("dim", "fix".padEnd(NAME_WIDTH))}${visible(remedy)}`)];
}

function section(title: string, steps: readonly string[]): string {
  return steps.length === 0 ? "" : `\n${paint("bold", title)}\n${steps.join("")}`;
}

function stepText({ command, why, where }: Step): string {
  const place = where === undefined ? "" : `${where}: `;
  const lines = visible(command)
    .split("\n")
    .map((text) => `  ${paint("cyan", text)}\n`);
  return `${lines.join("")}      ${paint("dim", visible(`${place}${why}`))}\n`;
}
