import { GateError } from "../contract/errors.ts";
import type { JsonObject } from "../contract/json.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { ENTRY_BYTES_MAX } from "./entry.ts";
import { EMPTY_ROOT, Frontier, leafHash, sameHash } from "./merkle.ts";
import type { Verifier } from "./note.ts";
import { isEntryOf, requireVerifier } from "./receipt.ts";
import { parseStrictObject } from "./strict-json.ts";
import { PayloadCheck } from "./verify-payloads.ts";
import { type FoundEntry, type LogSource, withSource } from "./verify-source.ts";

export interface VerifyOptions {
  /** A signed note kept from earlier: what shows a history that was cut or rewritten since. */
  readonly checkpoint?: string;
}

export interface LogProblem {
  /** Of the entry it is about, or the first it may be about; null where it is about none. */
  readonly index: number | null;
  readonly message: string;
}

/** What was found. The log verifies when there are no problems. */
export interface LogVerification {
  readonly origin: string;
  /** Entries that were read. */
  readonly size: number;
  /** The root recomputed from them. */
  readonly root: Uint8Array;
  /** By index, those about no entry first; at most `LOG_PROBLEMS_MAX`. */
  readonly problems: readonly LogProblem[];
}

/** After so many problems nothing is learnt from more. */
export const LOG_PROBLEMS_MAX = 100;

class Problems {
  readonly #found: LogProblem[] = [];

  add(index: number | null, message: string): void {
    if (this.#found.length < LOG_PROBLEMS_MAX) this.#found.push({ index, message });
  }

  sorted(): readonly LogProblem[] {
    return this.#found.toSorted((a, b) => (a.index ?? -1) - (b.index ?? -1));
  }
}

/** Older heads the log has to have grown out of, smallest first. */
class Ancestors {
  readonly #problems: Problems;
  #waiting: readonly Checkpoint[] = [];
  /** Up to here an older head holds. */
  #held = 0;

  constructor(notes: readonly (string | undefined)[], verifier: Verifier, problems: Problems) {
    this.#problems = problems;
    for (const note of notes) {
      if (note === undefined) continue;
      const head = openCheckpoint(note, verifier);
      if (head === undefined) problems.add(null, "an older checkpoint is not signed by this key");
      else this.#waiting = [...this.#waiting, head].sort((a, b) => a.size - b.size);
    }
  }

  get held(): number {
    return this.#held;
  }

  /** To be told each size the log had. */
  passed(frontier: Frontier): void {
    while (this.#waiting[0]?.size === frontier.size) {
      const [head, ...rest] = this.#waiting;
      this.#waiting = rest;
      if (head !== undefined && sameHash(head.root, frontier.root())) {
        this.#held = head.size;
      } else {
        this.#problems.add(
          this.#held,
          `the first ${frontier.size} entries are not those of an older checkpoint`,
        );
      }
    }
  }

  ended(size: number): void {
    for (const head of this.#waiting) {
      this.#problems.add(size, `an older checkpoint signed ${head.size} entries and ${size} are left`);
    }
  }
}

/** The entry's own words: an object of this log, and first the one that names the key. */
function checkWords(
  { index, bytes }: FoundEntry,
  verifierKey: string,
  origin: string,
  problems: Problems,
): JsonObject | undefined {
  const entry = Buffer.byteLength(bytes) > ENTRY_BYTES_MAX ? undefined : parseStrictObject(bytes);
  if (entry === undefined) {
    problems.add(index, "the entry is too long or is not a JSON object without repeated keys");
  } else if (!isEntryOf(entry, origin)) {
    problems.add(index, "the entry is of another log or version");
  } else if (index === 0 && (entry["kind"] !== "genesis" || entry["verifierKey"] !== verifierKey)) {
    problems.add(index, "the first entry does not name this key");
  }
  return entry;
}

/** The hash the tree goes on with: the one that was kept, so that one changed entry is one problem. */
function leafOf(found: FoundEntry, problems: Problems): Uint8Array {
  const leaf = leafHash(found.bytes);
  const kept = found.kept(0);
  if (kept !== undefined && sameHash(leaf, kept)) return leaf;
  problems.add(found.index, "the entry is not the one that was hashed");
  return kept ?? leaf;
}

function checkKept(
  found: FoundEntry,
  completed: readonly Uint8Array[],
  every: number,
  problems: Problems,
): void {
  for (let level = every; level < completed.length; level += every) {
    const hash = completed[level];
    const kept = found.kept(level);
    if (hash !== undefined && kept !== undefined && sameHash(hash, kept)) continue;
    const first = found.index + 1 - 2 ** level;
    problems.add(first, `the hash kept of entries ${first} to ${found.index} is not theirs`);
    return;
  }
}

interface Walk {
  readonly source: LogSource;
  readonly verifier: Verifier;
  readonly verifierKey: string;
  readonly head: Checkpoint | undefined;
  readonly ancestors: Ancestors;
  readonly problems: Problems;
}

/** Recomputes the tree, entry by entry. */
function walk({ source, verifier, verifierKey, head, ancestors, problems }: Walk): Frontier {
  const frontier = Frontier.read(0, () => EMPTY_ROOT);
  const payloads = source.payloads === null ? null : new PayloadCheck(source.payloads());
  const say = (index: number, message: string): void => problems.add(index, message);
  try {
    for (const found of source.entries(head?.size ?? 0)) {
      if (found.index !== frontier.size) {
        problems.add(frontier.size, `the entry is missing; the next one there is ${found.index}`);
        return frontier;
      }
      const entry = checkWords(found, verifierKey, verifier.name, problems);
      if (entry !== undefined) payloads?.entry(found.index, entry, say);
      ancestors.passed(frontier);
      checkKept(found, frontier.append(leafOf(found, problems)), source.keptEvery, problems);
    }
    payloads?.end(say);
  } catch (fault) {
    if (!(fault instanceof GateError)) throw fault;
    problems.add(frontier.size, fault.message);
  }
  ancestors.passed(frontier);
  return frontier;
}

/**
 * Recomputes a whole log, a state folder or an export, from its files and the public key alone. Writes nothing.
 * @throws GateError `ERR_KEY_INVALID`, `ERR_NOT_FOUND`, `ERR_STATE_…` where there is nothing that can be read
 */
export function verifyLog(dir: string, verifierKey: string, options: VerifyOptions = {}): LogVerification {
  const verifier = requireVerifier(verifierKey);
  return withSource(dir, (source) => verifySource(source, verifier, verifierKey.trim(), options));
}

function verifySource(
  source: LogSource,
  verifier: Verifier,
  verifierKey: string,
  options: VerifyOptions,
): LogVerification {
  const problems = new Problems();
  const head = source.note === undefined ? undefined : openCheckpoint(source.note, verifier);
  if (head === undefined) problems.add(null, "the tree head is missing or is not signed by this key");
  const ancestors = new Ancestors([source.olderNote, options.checkpoint], verifier, problems);
  const frontier = walk({ source, verifier, verifierKey, head, ancestors, problems });
  ancestors.ended(frontier.size);
  const root = frontier.root();
  if (head !== undefined) {
    if (frontier.size < head.size) {
      problems.add(frontier.size, `${head.size} entries were signed and ${frontier.size} are left`);
    } else if (frontier.size > head.size) {
      problems.add(head.size, `the entries from ${head.size} on were never signed`);
    } else if (!sameHash(root, head.root)) {
      problems.add(ancestors.held, `the entries from ${ancestors.held} on are not those that were signed`);
    }
  }
  return { origin: verifier.name, size: frontier.size, root, problems: problems.sorted() };
}
