import type { Cure } from "../../../sandbox/cure.ts";

/** In the order in which they are told. */
export const FINDING_GROUPS = [
  "tiers",
  "host",
  "drivers",
  "controls",
  "limits",
  "launcher",
  "folder",
  "state",
  "pool",
  "programs",
] as const;

/** One thing that was looked at. */
export interface Finding {
  readonly group: (typeof FINDING_GROUPS)[number];
  readonly name: string;
  /** `missing`: something adds it. `later`: this version does not have it, so no command does. */
  readonly state: "ok" | "missing" | "later";
  readonly detail: string;
  /** A command or a sentence; there where something is missing. */
  readonly remedy?: string;
}

/** Something to do, and what for. */
export interface Step extends Cure {
  /** `needed`: without it tools of the low and medium tiers do not run. */
  readonly for: "needed" | "more";
}

/** What `doctor` says of a host. */
export interface Report {
  /** Tools of the low and the medium tier run here. */
  readonly usable: boolean;
  /** The host in one line. */
  readonly host: string;
  readonly findings: readonly Finding[];
  /** In the order in which to do it. */
  readonly steps: readonly Step[];
}
