import type { Duplex, Readable } from "node:stream";
import { LocalStarter } from "./local-starter.ts";
import { nativeProgram } from "./native.ts";
import { NativeStarter } from "./native-starter.ts";

/** A process to start: its program and its descriptors; it gets no environment, and starts in `/`. */
export interface StartSpec {
  readonly argv: readonly string[];
  /** What is opened for it, by descriptor. A pipe has its other end open already. */
  readonly files: ReadonlyMap<number, { readonly path: string; readonly access: "r" | "w" }>;
  /** A socket to this process, and a descriptor that it may also speak on. */
  readonly channel: number;
  readonly aside: number;
}

/** A process that runs. */
export interface Started {
  readonly pid: number;
  readonly channel: Duplex;
  /** All that it says: the channel, and what it says aside where that is another stream. */
  readonly voices: readonly Readable[];
  /** Its exit code, or 128 and a signal's number; null where nobody can tell. */
  readonly exited: Promise<number | null>;
  isAlive(): boolean;
  kill(): void;
}

export interface Starter extends AsyncDisposable {
  /** @throws GateError `ERR_SANDBOX_START` naming what could not be opened or started. */
  start(spec: StartSpec): Promise<Started>;
}

/** Through `native/starter.c` where it was built: forking this process stops it for milliseconds each time. */
export function createStarter(
  folder: string,
  native: string | null = nativeProgram("starter") ?? null,
): Starter {
  return native === null ? new LocalStarter() : new NativeStarter(native, folder);
}
