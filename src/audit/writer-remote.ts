import { Worker } from "node:worker_threads";
import { GateError } from "../contract/errors.ts";
import { type FaultData, fromFaultData } from "./fault.ts";
import type { AppendDone, Batch, Writer, WriterStart } from "./work.ts";

export type Request =
  | { readonly kind: "commit"; readonly batch: Batch }
  | { readonly kind: "memo"; readonly key: string; readonly value: string }
  | { readonly kind: "close" };

export type Response = { readonly done: readonly AppendDone[] } | { readonly fault: FaultData };

/** Beside this file, as source or as built: `tsc` rewrites imports, not URLs. */
function threadUrl(): URL {
  return new URL(
    import.meta.url.endsWith(".ts") ? "./writer-thread.ts" : "./writer-thread.js",
    import.meta.url,
  );
}

/** The writer in a thread of its own, so that waiting for the disk stops nothing else. */
export class RemoteWriter implements Writer {
  readonly #worker: Worker;
  /** Answers come in the order of the requests. Bounded by whoever asks: a log has one commit under way. */
  readonly #waiting: PromiseWithResolvers<readonly AppendDone[]>[] = [];
  #stopped: GateError | undefined;

  constructor(start: WriterStart) {
    // The flags of this process may be such as a worker refuses, `-e` for one.
    const execArgv = ["--disable-warning=ExperimentalWarning"];
    this.#worker = new Worker(threadUrl(), { workerData: start, execArgv, name: "callgate-log" });
    this.#worker.unref();
    this.#worker.on("message", (response: Response) => {
      const waiting = this.#waiting.shift();
      if (this.#waiting.length === 0) this.#worker.unref();
      if ("fault" in response) waiting?.reject(fromFaultData(response.fault));
      else waiting?.resolve(response.done);
    });
    this.#worker.on("error", (fault) => this.#stop(fault));
    this.#worker.on("exit", () => this.#stop(undefined));
  }

  commit(batch: Batch): Promise<readonly AppendDone[]> {
    return this.#ask({ kind: "commit", batch });
  }

  async memoPut(key: string, value: string): Promise<void> {
    await this.#ask({ kind: "memo", key, value });
  }

  async close(): Promise<void> {
    try {
      await this.#ask({ kind: "close" });
    } finally {
      await this.#worker.terminate();
    }
  }

  #ask(request: Request): Promise<readonly AppendDone[]> {
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    const waiting = Promise.withResolvers<readonly AppendDone[]>();
    this.#waiting.push(waiting);
    // An answer that is awaited keeps the process alive; an idle writer does not.
    this.#worker.ref();
    this.#worker.postMessage(request);
    return waiting.promise;
  }

  #stop(fault: Error | undefined): void {
    const options = fault === undefined ? {} : { cause: fault };
    this.#stopped ??= new GateError("ERR_INTERNAL", "the record's writer stopped", options);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#stopped);
  }
}
