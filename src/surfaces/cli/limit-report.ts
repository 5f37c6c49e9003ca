import { EXEC_TOOL } from "../../catalog/builtin.ts";
import type { Denial } from "../../contract/execution.ts";

const MINUTE = 60_000;
/** Where somebody gives a call more time, they have waited once already. */
const LONGER_MS = 5 * MINUTE;
const SIZES = [
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
] as const;

interface Way {
  /** Of `callgate exec`; unset: a manifest alone can say it. */
  readonly flag?: string;
  /** Below `sandbox.limits` of a manifest. */
  readonly key: string;
  readonly more: (most: number) => string;
}

const doubled = (most: number): string =>
  sizeText(2 * most).replace(/ (?:bytes$)?/, (unit) => (unit === " " ? "" : "B"));

const WAYS: Readonly<Record<string, Way>> = {
  wall: { flag: "--time", key: "wall", more: (most) => flagTime(Math.max(LONGER_MS, 2 * most)) },
  cpu: { key: "cpu", more: (most) => flagTime(Math.max(LONGER_MS, 2 * most)) },
  memory: { flag: "--memory", key: "memory", more: doubled },
  processes: { flag: "--processes", key: "processes", more: (most) => String(2 * most) },
  output: { flag: "--output", key: "output", more: doubled },
  input: { key: "input", more: doubled },
  fileSize: { key: "fileSize", more: doubled },
};

/** A limit's own words, their numbers in units that people use. */
export function limitText(why: string): string {
  return why
    .replace(/\b(\d+) ms\b/, (_, ms) => durationText(Number(ms)))
    .replace(/\b(\d+) bytes\b/, (_, bytes) => sizeText(Number(bytes)));
}

/** What would give the next call more, or undefined where nothing is known of the limit. */
export function limitRemedy({ what, why }: Denial, tool: string): string | undefined {
  const way = WAYS[what];
  const most = Number(/\d+/.exec(why)?.[0]);
  if (way === undefined || !Number.isSafeInteger(most)) return undefined;
  const { flag, key, more } = way;
  if (tool !== EXEC_TOOL.name)
    return `\`limits: { ${key}: ${more(most)} }\` below \`sandbox\` in its manifest`;
  return flag === undefined
    ? `no flag raises it: a tool of your own can, with \`limits: { ${key}: ${more(most)} }\` in its manifest`
    : `\`${flag} ${more(most)}\``;
}

function durationText(ms: number): string {
  if (ms >= 2 * MINUTE && ms % MINUTE === 0) return `${ms / MINUTE} min`;
  return ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`;
}

function flagTime(ms: number): string {
  if (ms % MINUTE === 0) return `${ms / MINUTE}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function sizeText(bytes: number): string {
  const unit = SIZES.find(([, factor]) => bytes >= factor && bytes % factor === 0);
  return unit === undefined ? `${bytes} bytes` : `${bytes / unit[1]} ${unit[0]}`;
}
