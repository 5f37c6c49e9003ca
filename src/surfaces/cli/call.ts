import type { Command } from "commander";
import { ExecInput } from "../../catalog/exec-input.ts";
import { ERRORS, type GateErrorCode } from "../../contract/errors.ts";
import type { CallOptions, CallRequest } from "../../gate.ts";
import { type LoadedProject, loadProject } from "../../load-project.ts";
import { openGateOn } from "../../open-gate.ts";
import { type CliContext, globalOptions, projectOptions } from "./context.ts";
import { exitCodeOf, reportCall } from "./report.ts";
import { reportTrust } from "./report-trust.ts";
import { harmless } from "./terminal.ts";

/** Each ends the call, recorded as such, and then this process as it would have. */
const CANCELLING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

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
  const cancel = (signal: NodeJS.Signals): void => abort.abort(signal);
  for (const signal of CANCELLING) process.once(signal, cancel);
  try {
    await using gate = await openGateOn(loaded, "one-shot");
    const live = globals.json === true ? {} : { onOutput: stream };
    const result = await gate.call(request, { ...options, ...live, signal: abort.signal });
    if (globals.json === true) terminal.out(`${JSON.stringify(result, null, 2)}\n`);
    else if (globals.quiet !== true) reportCall(terminal, result);
    if (globals.json !== true && result.learned !== undefined && ExecInput.is(request.input)) {
      const { observeReport } = await import("./observe-report.ts");
      terminal.err(observeReport(result.learned, request.input.command));
    }
    const cancelled = CANCELLING.find((signal) => abort.signal.reason === signal);
    context.exitCode = exitCodeOf(result, cancelled, (code) => ERRORS[code as GateErrorCode].exit);
  } finally {
    for (const signal of CANCELLING) process.off(signal, cancel);
    // A pipe that stays open on our side would keep this process alive after the tool is gone.
    if (options.stdin !== undefined) process.stdin.destroy();
  }
}

function announce({ terminal }: CliContext, { project }: LoadedProject): void {
  if (project.trust !== undefined) reportTrust(terminal, project);
}

/** A terminal is shown colours and no other escape: a tool could write to the clipboard or the title with those. */
function stream(name: "stdout" | "stderr", chunk: Uint8Array): void {
  const target = process[name];
  target.write(target.isTTY ? harmless(Buffer.from(chunk).toString("utf8")) : chunk);
}
