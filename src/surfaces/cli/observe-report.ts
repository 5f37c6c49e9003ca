import type { Fragment } from "../../contract/fragment.ts";
import { commandLine } from "../../learn.ts";
import { visible } from "./terminal.ts";

/** What a run with `--observe` says after it: rules to paste, and what a person should look at first. */
export function observeReport({ yaml, flags, notes }: Fragment, argv: readonly string[]): string {
  return visible(
    [
      "# What it used, as part of a manifest. Read it before you paste it: it is what this run asked for, and no more.",
      yaml,
      "# The same for one command:",
      commandLine(flags, argv),
      ...(notes.length === 0 ? [] : ["", "# Not in it:", ...notes.map((note) => `# - ${note}`)]),
      "",
    ].join("\n"),
  );
}
