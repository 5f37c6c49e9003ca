import { styleText } from "node:util";
import type { CliContext, GlobalOptions } from "./context.ts";
import { type Terminal, visible } from "./terminal.ts";

const LABEL_WIDTH = 8;
const INDENT: string = " ".repeat(LABEL_WIDTH + 2);

/** Colours a result, where standard output is a terminal that shows colours. */
export function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** The terminal a command may talk on: with `--json` or `--quiet` nothing but the result is said. */
export function speaking({ terminal }: CliContext, { json, quiet }: GlobalOptions): Terminal {
  return json === true || quiet === true ? { ...terminal, err: () => undefined } : terminal;
}

/** The result as the one JSON value that `--json` promises. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** One labelled line of a result; `text` may come from anywhere. */
export function labelled(label: string, text: string): string {
  return `  ${paint("dim", `${label} `.padEnd(LABEL_WIDTH))}${visible(text).replaceAll("\n", `\n${INDENT}`)}\n`;
}

/** Rows under a head, each column as wide as its widest cell; cells may come from anywhere. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map((cell) => visible(cell).replaceAll("\n", " ")));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const [first = "", ...others] = lines;
  return [paint("dim", first), ...others, ""].join("\n");
}

/** `1 tool`, `2 tools`. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}
