import type { Command } from "commander";
import { ERRORS, type GateErrorCode } from "../../contract/errors.ts";
import type { CallOptions, CallRequest } from "../../gate.ts";
import { type LoadedProject, loadProject } from "../../load-project.ts";
import { openGateOn } from "../../open-gate.ts";
import { type CliContext, globalOptions, projectOptions } from "./context.ts";
import { exitCodeOf, reportCall } from "./report.ts";
import { reportTrust } from "./report-trust.ts";

/** Makes one call through a gate of its own and prints the result. SIGINT and SIGTERM cancel it, recorded as such. */
export async function callOnce(
  command: Command,
  context: CliContext,
  request: CallRequest,
  options: CallOptions = {},
): Promise<void> {
  const globals = globalOptions(command);
  const { terminal } = context;
  const loaded = await loadProject(projectOptions(globals));
  if (globals.quiet !== true && globals.json !== true) announce(context, loaded);
  const abort = new AbortController();
  const cancel = (): void => abort.abort();
  process.once("SIGINT", cancel).once("SIGTERM", cancel);
  try {
    await using gate = await openGateOn(loaded, "one-shot");
    const live = globals.json === true ? {} : { onOutput: stream };
    const result = await gate.call(request, { ...options, ...live, signal: abort.signal });
    if (globals.json === true) terminal.out(`${JSON.stringify(result, null, 2)}\n`);
    else if (globals.quiet !== true) reportCall(terminal, result);
    context.exitCode = exitCodeOf(result, (code) => ERRORS[code as GateErrorCode].exit);
  } finally {
    process.off("SIGINT", cancel).off("SIGTERM", cancel);
  }
}

function announce({ terminal }: CliContext, { project }: LoadedProject): void {
  if (project.trust !== undefined) reportTrust(terminal, project);
}

function stream(name: "stdout" | "stderr", chunk: Uint8Array): void {
  process[name].write(chunk);
}
