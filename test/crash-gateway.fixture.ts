// A gateway under load, to be killed: calls side by side until it dies, one line for each result that was returned.

import { ExecInput } from "../src/catalog/exec-input.ts";
import { openGate } from "../src/open-gate.ts";

const [workspace = "", state = "", prefix = "", callers = "4"] = process.argv.slice(2);
await using gate = await openGate({ workingDirectory: workspace, state });
process.stdout.write("ready\n");

async function caller(number: number): Promise<void> {
  for (let call = 0; call < 10_000; call += 1) {
    const mark = `${prefix}-${number}-${call}`;
    // The mark says that the tool ran; the sleep leaves something to be orphaned.
    const command = ["sh", "-c", `echo > marks/${mark}; exec sleep 0.0${(call * 7) % 10}`, mark];
    const result = await gate.call({
      tool: "callgate.exec",
      input: new ExecInput({ command, write: [`${workspace}/marks`] }),
    });
    process.stdout.write(`${result.outcome} ${result.call}\n`);
  }
}

await Promise.all(Array.from({ length: Number(callers) }, (_, number) => caller(number)));
