import { GateError } from "./contract/errors.ts";
import type { Execution } from "./contract/execution.ts";
import type { Tool } from "./contract/tool.ts";
import type { CheckedOutput } from "./gate.ts";

/** Parses the output of a tool that says `output: json`, and checks it against its schema where it has one. */
export async function checkOutput(tool: Tool, execution: Execution): Promise<CheckedOutput> {
  if (tool.output !== "json" || execution.outcome !== "exited" || execution.exitCode !== 0) return {};
  let structured: unknown;
  try {
    structured = JSON.parse(Buffer.from(execution.stdout).toString("utf8"));
  } catch {
    return { error: misfit("is not JSON") };
  }
  if (tool.outputSchema === undefined) return { structured };
  const { createValidator } = await import("./catalog/input-schema.ts");
  const validator = createValidator("output");
  if (validator.validate(tool.outputSchema, structured)) return { structured };
  const [first] = validator.errors ?? [];
  return { error: misfit(`does not fit its schema at \`${first?.instancePath || "/"}\`: ${first?.message}`) };
}

function misfit(what: string): GateError {
  return new GateError("ERR_OUTPUT_SCHEMA", `the tool's output ${what}`);
}
