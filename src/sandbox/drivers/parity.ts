import { CONTROLS } from "../../contract/tier.ts";
import type { Driver, DriverSupport } from "../driver.ts";

const YES = "yes";
const NO = "refused by name";

/** What a row asks of a driver's flags. */
const ROWS: readonly (readonly [string, (supports: DriverSupport) => string])[] = [
  ["isolation class", ({ isolation }) => isolation.map((name) => `\`${name}\``).join(", ")],
  ["network", ({ network }) => network.map((mode) => `\`${mode}\``).join(", ")],
  ["root file system", ({ roots = [] }) => ["host", ...roots].map((root) => `\`${root}\``).join(", ")],
  ["`files.hide`, `files.protect`", ({ maskedPaths }) => (maskedPaths ? YES : NO)],
  ["`files.staged`", ({ stagedWrites }) => (stagedWrites === true ? YES : NO)],
  ["`exec --explain-seccomp`", ({ explainsSyscalls }) => (explainsSyscalls === true ? YES : NO)],
  ["`exec --observe` (files)", ({ observesFiles }) => (observesFiles === true ? YES : NO)],
  ["evidence is read", ({ airlock }) => (airlock ? "before the tool starts" : "right after it started")],
];

/** The parity matrix of `docs/drivers.md`, from the drivers' own flags. */
export function parityTable(drivers: readonly Driver[]): string {
  const evidence = CONTROLS.map(
    (control) => [`evidence: \`${control}\``, ({ evidence: of }: DriverSupport) => of[control]] as const,
  );
  const rows = [...ROWS, ...evidence].map(([title, of]) => [
    title,
    ...drivers.map(({ supports }) => of(supports)),
  ]);
  const table = [["", ...drivers.map(({ name }) => name)], ...rows];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = table;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)].join(
    "\n",
  );
}
