import { readIfThere, replaceFile, statePath, unwritable } from "../store/state-dir.ts";
import type { Store } from "../store/store.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { Verifier } from "./note.ts";

/** How far the file may trail the database while the process lives. */
const TRAILING_MS_MAX = 100;

/**
 * The checkpoint kept beside the database, with which a database that went backwards is noticed at start. It trails:
 * writing it costs as much as a commit, and an older checkpoint shows a rollback as well, only of less.
 */
export class CheckpointFile {
  readonly #path: string;
  readonly #store: Store;
  readonly #verifier: Verifier;
  #timer: NodeJS.Timeout | undefined;
  #fault: unknown;

  constructor(stateDir: string, store: Store, verifier: Verifier) {
    this.#path = statePath(stateDir, "checkpoint");
    this.#store = store;
    this.#verifier = verifier;
  }

  /** Says that there is a newer head. */
  touch(): void {
    this.#timer ??= setTimeout(() => {
      try {
        this.flush();
      } catch (fault) {
        this.#fault = fault;
      }
    }, TRAILING_MS_MAX).unref();
  }

  /** Fails where the file could not be written, so that the log does not grow on without it. */
  check(): void {
    if (this.#fault === undefined) return;
    this.flush();
    this.#fault = undefined;
  }

  /**
   * Writes the head. Under the writer lock, and from the head as it is then, so that of several processes none can
   * put an older checkpoint over a newer one.
   * @throws GateError `ERR_STATE_UNWRITABLE`
   */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#store.transaction(() => {
      const head = this.#store.head.get();
      if (head === undefined) return;
      const text = readIfThere(this.#path);
      const there = text === undefined ? undefined : openCheckpoint(text, this.#verifier);
      if (there !== undefined && there.size >= head.size) return;
      try {
        replaceFile(this.#path, head.note);
      } catch (cause) {
        throw unwritable(this.#path, cause);
      }
    });
  }
}
