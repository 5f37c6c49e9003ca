// Inside the VM: runs test files one after the other in this one process, since every start of Node is slow there.
import { appendFileSync } from "node:fs";
import { run } from "node:test";

/** Where the harness outside reads. */
const CHANNEL = "/dev/ttyS1";

let failed = 0;
let told = 0;
const path: string[] = [];

function tell(what: object): void {
  told += 1;
  appendFileSync(CHANNEL, `${JSON.stringify(what)}\n`);
}

const tests = run({ files: process.argv.slice(2), isolation: "none", concurrency: false });
tests.on("test:start", ({ name, nesting }) => path.splice(nesting, path.length, name));
tests.on("test:pass", ({ name, nesting, skip, details }) => {
  if (details.type !== "suite")
    tell({ test: [...path.slice(0, nesting), name], ok: true, skip, ms: details.duration_ms });
});
tests.on("test:fail", ({ name, nesting, details }) => {
  failed += 1;
  // A suite fails because its tests do, which have been told already.
  const { error }: { error: Error & { failureType?: string } } = details;
  const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : error.message;
  if (details.type !== "suite" || error.failureType !== "subtestsFailed")
    tell({ test: [...path.slice(0, nesting), name], ok: false, error: cause, ms: details.duration_ms });
});
tests.on("end", () => {
  appendFileSync(CHANNEL, `${JSON.stringify({ told })}\n`);
  process.exitCode = failed === 0 ? 0 : 1;
});
tests.resume();
