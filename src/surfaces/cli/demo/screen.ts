import { styleText } from "node:util";
import { type Terminal, visible } from "../terminal.ts";
import type { Finding, Verdict } from "./step.ts";
import type { Summary } from "./summary.ts";

type Style = Parameters<typeof styleText>[0];

const MARKS: Readonly<Record<Verdict, { readonly mark: string; readonly style: Style }>> = {
  ran: { mark: "✓", style: "green" },
  held: { mark: "✓", style: "green" },
  verified: { mark: "✓", style: "green" },
  refused: { mark: "✗", style: "yellow" },
  blocked: { mark: "✗", style: "yellow" },
  stopped: { mark: "✗", style: "yellow" },
  found: { mark: "✗", style: "yellow" },
  skipped: { mark: "-", style: "dim" },
  wrong: { mark: "!", style: "red" },
};

const WIDTHS = { verdict: 8, time: 6, subject: 14, asked: 34 } as const;
const LINE_WIDTH = 44;

const NEXT: readonly (readonly [string, string])[] = [
  ["callgate exec -- cat ~/.ssh/id_ed25519", "your own key, as any command sees it now"],
  ["callgate init", "a gate for the folder you are in"],
];
const WHEN_WRONG: readonly (readonly [string, string])[] = [
  ["callgate doctor", "what this host can enforce"],
  ["callgate demo --json", "what to report, with every reason"],
];

function nextIn(workspace: string, state: string): readonly (readonly [string, string])[] {
  return [[`cd ${workspace} && callgate --state ${state} log show`, "what was recorded"]];
}

/** Where the demo prints: its lines are its result, so they go to standard output. */
export class Screen {
  readonly #terminal: Terminal;
  readonly #stream: NodeJS.WriteStream;
  #pending = false;

  constructor(terminal: Terminal, stream: NodeJS.WriteStream = process.stdout) {
    this.#terminal = terminal;
    this.#stream = stream;
  }

  text(text: string): void {
    this.clear();
    this.#terminal.out(`${text}\n`);
  }

  heading(title: string, about: string): void {
    this.text(`\n${this.paint("bold", title)}  ${this.paint("dim", about)}`);
  }

  /** Shows what is under way, on a terminal, until the next line replaces it. */
  begin(text: string): void {
    if (!this.#stream.isTTY) return;
    this.clear();
    this.#terminal.out(this.paint("dim", `  … ${visible(text).slice(0, this.#stream.columns - 5)}`));
    this.#pending = true;
  }

  finding({ subject, asked, verdict, happened, ms }: Finding): void {
    const { mark, style } = MARKS[verdict];
    const time = `${ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0)} ms`.padStart(WIDTHS.time);
    const call = `${subject.padEnd(WIDTHS.subject)}  ${visible(asked).padEnd(WIDTHS.asked)}`;
    const reason = visible(happened);
    const length = 4 + WIDTHS.verdict + 2 + WIDTHS.time + 2 + call.length + 2 + reason.length;
    const isBroken = this.#stream.isTTY && this.#stream.columns < length;
    const gap = isBroken ? `\n${" ".repeat(4 + WIDTHS.verdict + 2 + WIDTHS.time + 2)}` : "  ";
    this.text(
      `  ${this.paint(style, `${mark} ${verdict.padEnd(WIDTHS.verdict)}`)}  ${this.paint("dim", time)}  ${isBroken ? call.trimEnd() : call}${gap}${reason}`,
    );
  }

  summary({ ok, steps, skipped, ms, kept, findings }: Summary): void {
    const wrong = findings.filter(({ verdict }) => verdict === "wrong").map(({ id }) => id);
    const went = steps - skipped - wrong.length;
    const took = `in ${(ms / 1000).toFixed(1)} s`;
    const left = kept === null ? "nothing is left behind" : `it stays in ${kept.workspace}`;
    const missing = skipped === 0 ? "" : `, ${skipped} skipped`;
    const said = ok
      ? `${this.paint("green", `✓ ${went} of ${steps} went as they should`)}${missing}`
      : this.paint(
          "red",
          `! ${wrong.length} of ${steps} went otherwise than they should: ${wrong.join(", ")}`,
        );
    this.text(`\n${said}, ${took}; ${left}`);
    const next = kept === null ? NEXT : [...nextIn(kept.workspace, kept.state), ...NEXT];
    this.text(`\n${ok ? "Try next:" : "Find out why:"}`);
    for (const [line, about] of ok ? next : WHEN_WRONG) {
      this.text(`  ${line.padEnd(LINE_WIDTH)}${this.paint("dim", about)}`);
    }
  }

  paint(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#stream });
  }

  /** Takes away what was shown as under way. */
  clear(): void {
    if (this.#pending) this.#terminal.out("\r\u001b[K");
    this.#pending = false;
  }
}
