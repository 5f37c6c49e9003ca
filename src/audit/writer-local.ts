import { openSqliteStore } from "../store/sqlite.ts";
import { statePath } from "../store/state-dir.ts";
import type { Store } from "../store/store.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { Committer, type LogIdentity } from "./committer.ts";
import type { AppendDone, Batch, Writer, WriterStart } from "./work.ts";

/** The writer itself, in whichever thread it is made. */
export class LocalWriter implements Writer {
  readonly #store: Store;
  readonly #committer: Committer;
  readonly #file: CheckpointFile;

  constructor(store: Store, identity: LogIdentity, start: WriterStart) {
    this.#store = store;
    this.#committer = new Committer(store, identity, {
      ...start,
      path: statePath(start.stateDir, "database"),
    });
    this.#file = new CheckpointFile(start.stateDir, store, identity.verifier);
  }

  async commit(batch: Batch): Promise<readonly AppendDone[]> {
    return this.commitNow(batch);
  }

  async memoPut(key: string, value: string): Promise<void> {
    this.memoPutNow(key, value);
  }

  async close(): Promise<void> {
    this.closeNow();
  }

  commitNow(batch: Batch): readonly AppendDone[] {
    this.#file.check();
    const done = this.#committer.commit(batch);
    this.#file.touch();
    if (batch.appends.some(({ redact }) => redact !== null)) this.#store.erase();
    return done;
  }

  memoPutNow(key: string, value: string): void {
    this.#store.transaction(() => this.#store.memo.put(key, value));
  }

  closeNow(): void {
    try {
      this.#file.flush();
    } finally {
      this.#store.close();
    }
  }
}

/** Opens the folder for a writer of its own. */
export function openLocalWriter(identity: LogIdentity, start: WriterStart): LocalWriter {
  return new LocalWriter(openSqliteStore(statePath(start.stateDir, "database")), identity, start);
}
