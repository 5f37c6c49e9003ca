import type { OnReadOpts } from "node:net";

/**
 * Large, since each read and each write costs the same whatever it moves; pages of it that no read has filled yet
 * take no memory.
 */
const READ_BYTES_MAX: number = 256 * 1024;

/** Takes what was read, before the next read overwrites it, or says false: then nothing is read until `resume()`. */
type Take = (chunk: Buffer) => boolean;

/**
 * Lets one socket read into the same buffer over and over, where Node otherwise makes a new one per read, which costs
 * a relay half of its processor time. `net.connect` takes the `onread`; an accepted socket has no such option.
 */
export class StaticReads {
  readonly onread: OnReadOpts;
  #take: Take | undefined;
  #lost = false;

  constructor() {
    const whole = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
    this.onread = {
      buffer: whole,
      callback: (bytes) => {
        this.#lost ||= this.#take === undefined;
        return this.#take?.(bytes === whole.length ? whole : whole.subarray(0, bytes)) ?? false;
      },
    };
  }

  /** To be told before the socket is resumed. @throws Error where it was read already, so that bytes are lost. */
  use(take: Take): void {
    if (this.#lost) throw new Error("a socket was read before its relay began");
    this.#take = take;
  }
}
