import type { IsolationClass } from "../contract/tier.ts";
import type { Trial } from "./attempt.ts";
import { OWN_KERNEL, type Probe } from "./probe.ts";
import { BEGAN, ENDED, REACHED } from "./program.ts";

/** How output is made fit for a person; what does that belongs to whoever shows it. */
export type Show = (text: string) => string;

/**
 * What became of one probe.
 * - `held`: the program ran, its control got through, and it did not; or nothing was let in, where that is right.
 * - `open`: it got through.
 * - `broken`: it could not do its work inside, so nothing is known. Counts as a failure.
 * - `unshown`: it did not get through, but neither did its control: this host cannot show it.
 */
export type State = "held" | "open" | "broken" | "unshown";

export interface Verdict {
  readonly state: State;
  /** What got through, or why nothing is known; how it was refused, where it was. */
  readonly detail: string;
}

/** Escape sequences, C1 controls, NUL, backspace, and what turns or hides text (Unicode's bidi and format characters). */
const ACTS_ON_TERMINAL =
  /[\u0000-\u0007\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f-\u009f]|\p{Cf}|\u001b(?!\[[0-9;]*m)/u;

/** What got through, by what the host saw, by a secret, or by what the program says; undefined where nothing did. */
export function reachedBy(
  probe: Probe,
  trial: Trial,
  isolation: IsolationClass | undefined,
  show: Show,
): string | undefined {
  const text = trial.seen.stdout.toString("utf8");
  if (probe.judgesShown === true) {
    return ACTS_ON_TERMINAL.test(show(text))
      ? "characters that act on a terminal are shown as they are"
      : undefined;
  }
  if (trial.effect !== undefined) return trial.effect;
  const { cpuMs } = trial.seen;
  if (typeof cpuMs === "number" && cpuMs > (probe.cpuMsMax ?? Number.POSITIVE_INFINITY))
    return `the host counts ${Math.round(cpuMs)} ms of processor time`;
  if (`${text}${trial.seen.stderr.toString("utf8")}`.includes(trial.secret))
    return "it read the planted secret";
  const own = isolation !== undefined && OWN_KERNEL.has(isolation) && probe.ownKernel !== undefined;
  const said = new RegExp(`^${REACHED}(.*)$`, "m").exec(text)?.[1];
  return own ? undefined : said;
}

export function judge(
  probe: Probe,
  control: Trial,
  inside: Trial,
  isolation: IsolationClass,
  show: Show,
): Verdict {
  const through = reachedBy(probe, inside, isolation, show);
  if (through !== undefined) return { state: "open", detail: through };
  const broken = whyBroken(probe, inside);
  if (broken !== undefined) return { state: "broken", detail: broken };
  const shown = reachedBy(probe, control, undefined, (text) => text);
  if (shown === undefined) return { state: "unshown", detail: whyUnshown(control) };
  const { ending } = inside.seen;
  return { state: "held", detail: ending.kind === "refused" ? `refused: ${ending.why}` : "" };
}

/** Why a run says nothing: its program did not get to its end, and that was not the point. */
function whyBroken(probe: Probe, { seen }: Trial): string | undefined {
  const { ending } = seen;
  if (ending.kind === "refused") {
    const right = probe.mayBeRefused === true || probe.treeLimits === true;
    return right ? undefined : `nothing was let in: ${ending.why}`;
  }
  if (ending.kind === "unstarted") return ending.why;
  const text = seen.stdout.toString("utf8");
  const end = ending.kind === "killed" ? `ended by the ${ending.by} limit` : `exit ${ending.exitCode}`;
  if (!text.startsWith(`${BEGAN}\n`)) return `its program did not start (${end}): ${lastLine(seen.stderr)}`;
  if (probe.mayDie === true || text.trimEnd().endsWith(ENDED)) return undefined;
  return `its program did not get to its end (${end}): ${lastLine(seen.stderr)}`;
}

function whyUnshown({ seen }: Trial): string {
  const said = lastLine(seen.stderr);
  return `its control did not get through on this host${said === "" ? "" : `: ${said}`}`;
}

function lastLine(bytes: Buffer): string {
  return (bytes.toString("utf8").trim().split("\n").at(-1) ?? "").slice(0, 200);
}
