import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { LogEntry } from "../../../audit/log.ts";
import type { LogVerification } from "../../../audit/verify.ts";
import { GateError } from "../../../contract/errors.ts";
import { readIfThere, STATE_FILES, statePath } from "../../../store/state-dir.ts";
import { type CliContext, example, globalOptions } from "../context.ts";
import { describeEntry, textAt, timeOf, toolOf } from "../entry-view.ts";
import { callNamed, noSuchCall, openRecord, requireRecord, stateDirOf } from "../open-record.ts";
import { count, labelled, paint, printJson, speaking, table } from "../output.ts";
import { readVerifierKey } from "../verifier-key.ts";

/** Entries shown unless asked for more. */
const SHOWN_DEFAULT = 20;

export function registerLog(program: Command, context: CliContext): void {
  const log = program
    .command("log")
    .summary("the record: show, verify, receipt, export")
    .description("The record of every call: append-only, signed, provable.");
  example(log, ["callgate log show", "callgate log verify"]);
  registerShow(log, context);
  registerVerify(log, context);
  registerReceiptOf(log, context);
  registerExport(log, context);
}

function registerShow(log: Command, context: CliContext): void {
  const command = log
    .command("show")
    .summary("the newest entries, or those of one call")
    .description("Show what the record holds, oldest first.")
    .option("--call <CALL>", "one call: its id, or `last`")
    .option("--last <N>", "so many of the newest entries", wholeNumber)
    .action(async (options: { call?: string; last?: number }, self: Command) => {
      const globals = globalOptions(self);
      await using record = await openRecord(stateDirOf(globals));
      const size = await record.size();
      let entries: readonly LogEntry[];
      if (options.call === undefined) {
        const last = options.last ?? SHOWN_DEFAULT;
        entries = await record.scan({ from: Math.max(0, size - last), limit: last });
      } else {
        const call = await callNamed(record, options.call);
        entries = await record.entriesOfCall(call);
        if (entries.length === 0) throw noSuchCall(call);
        if (options.last !== undefined) entries = entries.slice(-options.last);
      }
      if (globals.json === true) {
        const shown = entries.map(({ index, entry }) => ({ index, entry }));
        printJson(context.terminal, { origin: record.origin, size, entries: shown });
        return;
      }
      context.terminal.out(timeline(entries));
      speaking(context, globals).err(
        `${count(entries.length, "entry", "entries")} of ${size}, of ${record.origin}\n`,
      );
    });
  example(command, ["callgate log show --last 50", "callgate log show --call last"]);
}

function timeline(entries: readonly LogEntry[]): string {
  const rows = entries.map(({ index, entry }) => [
    String(index),
    timeOf(entry),
    textAt(entry, "kind"),
    textAt(entry, "call"),
    toolOf(entry),
    describeEntry(entry),
  ]);
  return table(["ENTRY", "TIME", "KIND", "CALL", "TOOL", "WHAT"], rows);
}

interface VerifyOptions {
  readonly key?: string;
  readonly fromExport?: string;
  readonly checkpoint?: string;
}

function registerVerify(log: Command, context: CliContext): void {
  const command = log
    .command("verify")
    .summary("recompute the whole record")
    .description(
      "Recompute every hash and signature, from files and the public key alone. Exits 65 and names the first bad entry\nwhere something does not hold.",
    )
    .option("--key <VKEY|FILE>", "the log's public key; unset: `log.pub` of the state folder")
    .option("--from-export <DIR>", "what `callgate log export` wrote, instead of the state folder")
    .option(
      "--checkpoint <FILE>",
      "a checkpoint kept from earlier: shows what was cut off or rewritten since",
    )
    .action(async (options: VerifyOptions, self: Command) => {
      const globals = globalOptions(self);
      const stateDir = stateDirOf(globals);
      const dir = options.fromExport === undefined ? stateDir : resolve(options.fromExport);
      if (options.fromExport === undefined) requireRecord(stateDir);
      const key = options.key === undefined ? ownKey(stateDir, dir) : readVerifierKey(options.key);
      const older = options.checkpoint === undefined ? {} : { checkpoint: readText(options.checkpoint) };
      const { verifyLog } = await import("../../../audit/verify.ts");
      const verification = verifyLog(dir, key, older);
      if (verification.problems.length > 0) context.exitCode = new GateError("ERR_LOG_INVALID", "").exitCode;
      if (globals.json === true) printJson(context.terminal, asJson(verification));
      else context.terminal.out(asText(verification, dir));
      if (options.key === undefined) {
        speaking(context, globals).err(
          "checked with the key beside it; keep a copy of `log.pub` elsewhere for `--key`\n",
        );
      }
    });
  example(command, [
    "callgate log verify",
    "callgate log verify --from-export exported --key log.pub --checkpoint kept.checkpoint",
  ]);
}

/** Our own key; one that lies inside an export says nothing about who made the export. */
function ownKey(stateDir: string, dir: string): string {
  const text = readIfThere(statePath(stateDir, "publicKey"));
  if (text !== undefined) return text;
  throw new GateError("ERR_KEY_MISSING", `there is no key in \`${stateDir}\` to check \`${dir}\` with`, {
    remedy: `pass it with \`--key\`; \`--key ${join(dir, STATE_FILES.publicKey)}\` checks only that the export agrees with itself`,
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be read`, { cause, remedy: "check the path" });
  }
}

function asJson({ origin, size, root, problems }: LogVerification): object {
  return {
    verified: problems.length === 0,
    origin,
    size,
    root: Buffer.from(root).toString("base64"),
    problems,
  };
}

function asText({ origin, size, problems, root }: LogVerification, dir: string): string {
  const found = `${count(size, "entry", "entries")} of ${origin} in ${dir}`;
  if (problems.length === 0) {
    return `${paint("green", "✓ verified")}  ${found}\n${labelled("root", Buffer.from(root).toString("base64"))}`;
  }
  const lines = problems.map(({ index, message }) =>
    labelled(index === null ? "record" : `#${index}`, message),
  );
  return `${paint("red", "✗ does not verify")}  ${found}\n${lines.join("")}`;
}

function registerReceiptOf(log: Command, context: CliContext): void {
  const command = log
    .command("receipt")
    .summary("the receipt of a call, for whoever must check it later")
    .description("Print the proof that a call's end is in the record, as JSON of about 1 KB.")
    .argument("<CALL>", "the call's id, or `last`")
    .option("-o, --output <FILE>", "write it there instead of to standard output")
    .action(async (name: string, { output }: { output?: string }, self: Command) => {
      const globals = globalOptions(self);
      await using record = await openRecord(stateDirOf(globals));
      const call = await callNamed(record, name);
      const entries = await record.entriesOfCall(call);
      if (entries.length === 0) throw noSuchCall(call);
      const end = entries.findLast(({ entry }) => ENDS.has(textAt(entry, "kind")));
      if (end === undefined) {
        throw new GateError("ERR_NOT_FOUND", `the call \`${call}\` has not ended`, {
          remedy: "try again once it has",
        });
      }
      const text = `${JSON.stringify(await record.receipt(end.index), null, 2)}\n`;
      if (output === undefined) context.terminal.out(text);
      else writeText(output, text);
      speaking(context, globals).err(
        `verify it anywhere with \`callgate receipt verify ${output ?? "FILE"} --key ${record.verifierKey}\`\n`,
      );
    });
  example(command, ["callgate log receipt last -o receipt.json"]);
}

/** Kinds of entries with which a call is over. */
const ENDS: ReadonlySet<string> = new Set(["outcome", "denied", "recovered"]);

function writeText(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new GateError("ERR_USAGE", `\`${path}\` cannot be written`, { cause, remedy: "check the path" });
  }
}

function registerExport(log: Command, context: CliContext): void {
  const command = log
    .command("export")
    .summary("the record as static files that any C2SP tlog-tiles client reads")
    .description("Write the record as static files in the layout of C2SP tlog-tiles.")
    .argument("<DIR>", "a new or empty folder")
    .action(async (dir: string, _options: object, self: Command) => {
      const globals = globalOptions(self);
      const stateDir = stateDirOf(globals);
      requireRecord(stateDir);
      const { exportLog } = await import("../../../audit/export.ts");
      const target = resolve(dir);
      const { size, verifierKey } = exportLog(stateDir, target);
      if (globals.json === true) printJson(context.terminal, { dir: target, size, verifierKey });
      else context.terminal.out(`${target}\n`);
      speaking(context, globals).err(
        `${count(size, "entry", "entries")}; verify with \`callgate log verify --from-export ${dir} --key ${verifierKey}\`\n`,
      );
    });
  example(command, ["callgate log export exported"]);
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it must be a whole number above 0.");
}
