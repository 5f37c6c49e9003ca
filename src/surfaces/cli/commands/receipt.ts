import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { VerifiedReceipt } from "../../../audit/receipt.ts";
import { GateError } from "../../../contract/errors.ts";
import { isJsonObject, type JsonObject } from "../../../contract/json.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { at, describeEntry, textAt, timeOf, toolOf } from "../entry-view.ts";
import { labelled, paint, printJson } from "../output.ts";
import { readVerifierKey } from "../verifier-key.ts";

export function registerReceipt(program: Command, context: CliContext): void {
  const receipt = program
    .command("receipt")
    .summary("verify one receipt offline")
    .description("Receipts: the proof that one call's end is in a record.");
  example(receipt, ["callgate receipt verify receipt.json --key log.pub"]);
  const command = receipt
    .command("verify")
    .summary("check a receipt with nothing but the log's public key")
    .description(
      "Check a receipt, or a whole result of `--json` that carries one, offline and without a state folder. Exits 65 with\nthe reason where it proves nothing.",
    )
    .argument("<FILE>", "a receipt or a result; `-` for standard input")
    .requiredOption("--key <VKEY|FILE>", "the log's public key: its vkey line, or a file that holds it")
    .action(async (file: string, options: { key: string }, self: Command) => {
      const text = readReceipt(file);
      const key = readVerifierKey(options.key);
      const result = resultIn(text);
      const { verifyReceipt } = await import("../../../audit/receipt.ts");
      const verified = verifyReceipt(result === undefined ? text : JSON.stringify(result["receipt"]), key);
      if (result !== undefined) checkResult(result, verified.entry);
      if (globalOptions(self).json === true) printJson(context.terminal, asJson(verified));
      else context.terminal.out(asText(verified));
    });
  example(command, [
    "callgate receipt verify receipt.json --key log.pub",
    "callgate exec --json -- make | callgate receipt verify - --key log.pub",
  ]);
}

function readReceipt(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${file}\` cannot be read`, { cause, remedy: "check the path" });
  }
}

/** The result that carries the receipt, where the text is one. */
function resultIn(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) && isJsonObject(value["receipt"]) ? value : undefined;
  } catch {
    return undefined; // what is wrong with it is said by the verifier
  }
}

/**
 * A genuine receipt proves nothing about a result that says otherwise.
 * @throws GateError `ERR_RECEIPT_INVALID` naming the member that differs.
 */
function checkResult(result: JsonObject, entry: JsonObject): void {
  const isDenial = entry["kind"] === "denied";
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ["call", result["call"], entry["call"]],
    ["tool", result["tool"], toolOf(entry)],
    ...(isDenial
      ? ([["error.code", at(result, "error", "code"), entry["code"]]] as const)
      : (["outcome", "exitCode", "signal", "killedBy"] as const).map(
          (name) => [name, result[name], entry[name]] as const,
        )),
  ];
  for (const [name, said, recorded] of pairs) {
    if (said === recorded) continue;
    throw new GateError(
      "ERR_RECEIPT_INVALID",
      `the receipt is genuine and not of this result: \`${name}\` is ${JSON.stringify(said)} here and ${JSON.stringify(recorded)} in the record`,
      { remedy: "trust what the receipt's entry says, not the result around it" },
    );
  }
}

function asJson({ origin, index, size, checkpoint, entry }: VerifiedReceipt): object {
  return { verified: true, origin, index, size, checkpoint, entry };
}

function asText({ origin, index, size, entry }: VerifiedReceipt): string {
  const call = textAt(entry, "call");
  const isEnd = ["outcome", "denied", "recovered"].includes(textAt(entry, "kind"));
  return [
    `${paint("green", "✓ genuine")}  entry ${index} of ${origin}, signed at ${size} entries\n`,
    ...(call === "" ? [] : [labelled("call", call)]),
    ...(toolOf(entry) === "" ? [] : [labelled("tool", toolOf(entry))]),
    labelled(isEnd ? "end" : "entry", `${textAt(entry, "kind")}: ${describeEntry(entry)}`),
    labelled("when", `${timeOf(entry)}, on ${textAt(entry, "node")}`),
  ].join("");
}
