import { Transform, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** A feed under way. Closing it waits until nothing can be written any more, whoever holds the source. */
export interface Feed {
  close(): Promise<void>;
}

/**
 * Feeds a tool's standard input and closes it; nothing to feed closes it at once. A tool that does not read is no
 * fault of the feed; more bytes than the input limit end the call.
 */
export function feed(
  target: Writable,
  input: Uint8Array | NodeJS.ReadableStream | undefined,
  bytesMax: number,
  onExcess: () => void,
): Feed {
  const closed = new Promise<void>((done) => target.on("close", () => done()));
  target.on("error", () => {}); // EPIPE: the tool stopped reading
  let piped: Promise<unknown> = Promise.resolve();
  if (input === undefined) target.end();
  else if (input instanceof Uint8Array) {
    if (input.length > bytesMax) onExcess();
    target.end(input.subarray(0, bytesMax));
  } else {
    piped = pipeline(input, counted(bytesMax, onExcess), target).catch(() => {});
  }
  return {
    close: async () => {
      target.destroy();
      await Promise.all([closed, piped]);
    },
  };
}

function counted(bytesMax: number, onExcess: () => void): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes <= bytesMax) return done(null, chunk);
      onExcess();
      done(new Error("more input than the limit"));
    },
  });
}
