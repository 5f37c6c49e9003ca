import type { Readable } from "node:stream";
import type { Output } from "../contract/execution.ts";

/** Keeps the first bytes of a tool's output, counts all of them, and says when there are too many. */
export class OutputCollector {
  readonly #limit: number;
  readonly #onExcess: () => void;
  readonly #onOutput: ((stream: "stdout" | "stderr", chunk: Uint8Array) => void) | undefined;
  readonly #chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  readonly #bytes = { stdout: 0, stderr: 0 };
  #kept = 0;

  constructor(
    limit: number,
    onExcess: () => void,
    onOutput?: (stream: "stdout" | "stderr", chunk: Uint8Array) => void,
  ) {
    this.#limit = limit;
    this.#onExcess = onExcess;
    this.#onOutput = onOutput;
  }

  /** Reads one stream to its end; resolves when no process holds its writing end any more, or `stop` is called. */
  follow(
    stream: "stdout" | "stderr",
    source: Readable,
  ): { readonly ended: Promise<void>; readonly stop: () => Promise<void> } {
    const ended = new Promise<void>((done) => {
      source.on("data", (chunk: Buffer) => this.#take(stream, chunk));
      source.on("error", () => done());
      source.on("close", () => done());
    });
    return {
      ended,
      stop: async () => {
        source.destroy();
        await ended;
      },
    };
  }

  result(): Output {
    return {
      stdout: Buffer.concat(this.#chunks.stdout),
      stderr: Buffer.concat(this.#chunks.stderr),
      stdoutBytes: this.#bytes.stdout,
      stderrBytes: this.#bytes.stderr,
    };
  }

  #take(stream: "stdout" | "stderr", chunk: Buffer): void {
    this.#bytes[stream] += chunk.length;
    const room = this.#limit - this.#kept;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    if (kept.length > 0) {
      this.#kept += kept.length;
      this.#chunks[stream].push(kept);
      this.#onOutput?.(stream, kept);
    }
    if (kept.length < chunk.length) this.#onExcess();
  }
}
