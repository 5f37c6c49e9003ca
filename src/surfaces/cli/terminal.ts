import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Where a command writes: results to `out`, everything said about them to `err`. */
export interface Terminal {
  out(text: string | Uint8Array): void;
  err(text: string): void;
  /** Colours `text` where `err` is a terminal that shows colours. */
  paint(style: Style, text: string): string;
  /** Columns of `err`; 80 when it is not a terminal. */
  readonly columns: number;
}

/** The process's own streams. `NO_COLOR` and `FORCE_COLOR` are heeded. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    // Whoever read it went away (`callgate … | head`). What is under way still ends in order, unheard.
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    paint: (style, text) => styleText(style, text, { stream: process.stderr }),
    columns: process.stderr.columns ?? 80,
  };
}

/**
 * Text that may come from a tool or a cloned project, for a person's eyes: control characters (escape sequences
 * among them) and invisible or bidirectional characters are written out as `\u{…}`; newlines and tabs stay.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu, (character) =>
    character === "\n" || character === "\t" ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** A tool's own output for a terminal: colours, carriage returns and backspaces pass, what `visible` shows does not. */
export function harmless(text: string): string {
  return text.replace(/\u001b\[[0-9;]*m|[\r\b]|[\s\S]/gu, (part) =>
    part.startsWith("\u001b[") || part === "\r" || part === "\b" ? part : visible(part),
  );
}
