import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import canonicalize from "canonicalize";
import type { Change, Changes } from "../../contract/changes.ts";
import { GateError } from "../../contract/errors.ts";
import type { Execution } from "../../contract/execution.ts";
import { type CallId, digestOf } from "../../contract/ids.ts";
import type { Profile } from "../../contract/profile.ts";
import { isWithin } from "../../contract/within.ts";
import { deadNotes, writeNote } from "../owner-note.ts";
import type { HostUser } from "../user.ts";
import { applyChanges, finishChanges, undoChanges } from "./apply.ts";
import { type Found, findChanges, type StagedTree } from "./compare.ts";
import { copyTree } from "./copy.ts";
import { type Journal, readJournal } from "./journal.ts";
import { whyNotApplied } from "./permit.ts";
import { removeIn } from "./remove-tree.ts";
import { unitsOf } from "./units.ts";

const JOURNAL = "journal.json";
const NOTES = "notes";

/** Private copies of what one call may write. Disposing takes back what `finish` has not confirmed. */
export interface StagedWrites extends AsyncDisposable {
  /** Where the private copy of a granted path lies; elsewhere the path itself. */
  readonly copyOf: (path: string) => string;
  /** After the tool's end: what it changed, applied if it succeeded and each may be made. Never throws. */
  settle(execution: Execution): Promise<Changes>;
  /** After the outcome is durable: the changes stay. */
  finish(): void;
}

interface Place {
  /** A folder of ours, outside every sandbox. */
  readonly folder: string;
  readonly user: HostUser;
  readonly call: CallId;
}

interface Noted {
  readonly call: CallId;
  readonly name: string;
}

/**
 * Copies the folders that a profile with staged writes opens for writing.
 * @throws GateError `ERR_USAGE` where one cannot be copied; nothing is left then.
 */
export async function stageWrites(profile: Profile, { folder, user, call }: Place): Promise<StagedWrites> {
  const id = randomBytes(8).toString("hex");
  const place = join(folder, id);
  const noted: Noted = { call, name: id };
  const note = writeNote(join(folder, NOTES), noted);
  const discard = (): void => {
    removeIn(folder, id);
    rmSync(note, { force: true });
  };
  try {
    mkdirSync(place, { mode: 0o700 });
    const trees: StagedTree[] = [];
    for (const [index, root] of treesOf(profile).entries()) {
      const copy = join(place, `tree-${index}`);
      trees.push({ root, copy, baseline: await copyTree(root, copy, user) });
    }
    return stagedWrites(trees, { id, place, protect: profile.files.protect, discard });
  } catch (error) {
    discard();
    throw error;
  }
}

interface Parts {
  readonly id: string;
  readonly place: string;
  readonly protect: readonly string[];
  readonly discard: () => void;
}

function stagedWrites(trees: readonly StagedTree[], { id, place, protect, discard }: Parts): StagedWrites {
  let applied: Journal | undefined;
  let isLeft = false;
  return {
    copyOf: (path) => {
      const tree = trees.find(({ root }) => isWithin(path, root));
      return tree === undefined ? path : `${tree.copy}${path.slice(tree.root.length)}`;
    },
    settle: async (execution) => {
      const found: Found[] = [];
      try {
        for (const tree of trees) found.push(...(await findChanges(tree)));
        if (execution.outcome !== "exited" || execution.exitCode !== 0)
          return changesOf("discarded", "the tool did not succeed", found);
        const why = found.map((one) => whyNotApplied(one, protect)).find((reason) => reason !== undefined);
        if (why !== undefined) return changesOf("refused", why, found);
        applied = await applyChanges(unitsOf(found), id, join(place, JOURNAL));
        return changesOf("applied", null, found);
      } catch (error) {
        return changesOf(...whyFailed(error), found);
      }
    },
    finish: () => {
      const journal = applied;
      applied = undefined;
      try {
        if (journal !== undefined) finishChanges(journal);
      } catch {
        isLeft = true; // the changes are made and recorded; the next gateway clears up behind them
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (applied !== undefined) undoChanges(applied);
      if (!isLeft) discard();
    },
  };
}

/**
 * Ends what gateways that were killed have begun: kept where the record says that it was applied, else taken back.
 * Called before any tool runs.
 */
export async function recoverStaged(
  folder: string,
  isApplied: (call: CallId) => Promise<boolean>,
): Promise<void> {
  for (const { call, name } of deadNotes<Noted>(join(folder, NOTES))) {
    const journal = readJournal(join(folder, name, JOURNAL));
    if (journal !== undefined) {
      if (await isApplied(call)) finishChanges(journal);
      else undoChanges(journal);
    }
    removeIn(folder, name);
  }
}

/** Folders that may be written, each whole: one inside of another comes with it. */
function treesOf({ files: { write } }: Profile): readonly string[] {
  for (const path of write) {
    if (statSync(path).isDirectory()) continue;
    throw new GateError("ERR_USAGE", `\`${path}\` is a file, and staged writes need a folder`, {
      remedy: "grant the folder that holds it",
    });
  }
  return write.filter((path) => !write.some((other) => other !== path && isWithin(path, other)));
}

function changesOf(state: Changes["state"], reason: string | null, found: readonly Found[]): Changes {
  const paths: readonly Change[] = found.map(({ change }) => change);
  return {
    state,
    reason,
    count: paths.length,
    bytes: paths.reduce((sum, { bytes = 0 }) => sum + bytes, 0),
    digest: digestOf(canonicalize(paths) ?? ""),
    paths,
  };
}

function whyFailed(error: unknown): [Changes["state"], string] {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof GateError)) return ["failed", message];
  if (error.code === "ERR_CHANGES_REFUSED") return ["refused", message];
  return [error.code === "ERR_CHANGES_CONFLICT" ? "conflict" : "failed", message];
}
