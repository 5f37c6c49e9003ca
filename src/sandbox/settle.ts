import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Controls } from "../contract/execution.ts";
import { CLEAR_MS_MAX } from "./cell.ts";
import { hasEnded } from "./procfs.ts";

/** How long a sandbox that says it is ready may hold descriptors that it is about to close. */
const SETTLE_MS_MAX = 1_000;
/** How long the end of a namespace is looked for without pause. */
const SPIN_MS_MAX = 3;

/**
 * What is read of a sandbox that has just said it is ready is read again until it has closed what it was about to
 * close, and the last reading is the one that counts.
 */
export async function settledReading(read: () => Controls): Promise<Controls> {
  const begun = performance.now();
  for (;;) {
    const controls = read();
    if (controls.descriptors.state === "enforced" || performance.now() - begun > SETTLE_MS_MAX)
      return controls;
    await nextTurn();
  }
}

/** Waits until a namespace's first process is gone, and with it all that was in there; or for `CLEAR_MS_MAX`. */
export async function untilEnded(pid: number, startTicks: string | undefined): Promise<void> {
  const begun = performance.now();
  while (startTicks !== undefined && !hasEnded(pid, startTicks)) {
    const waited = performance.now() - begun;
    if (waited > CLEAR_MS_MAX) return;
    // It is a matter of microseconds, unless many processes or much memory have to go.
    await (waited < SPIN_MS_MAX ? nextTurn() : sleep(1));
  }
}
