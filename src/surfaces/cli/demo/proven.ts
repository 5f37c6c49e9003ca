import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportLog } from "../../../audit/export.ts";
import { type VerifiedReceipt, verifyReceipt } from "../../../audit/receipt.ts";
import { type LogVerification, verifyLog } from "../../../audit/verify.ts";
import { GateError } from "../../../contract/errors.ts";
import type { Receipt } from "../../../contract/record.ts";
import type { Stage } from "./stage.ts";
import { elapsedMs, type Finding } from "./step.ts";

/** What the record is held against. */
export interface Evidence {
  /** The log's public key: all that a verifier needs beside the files. */
  readonly key: string;
  /** Of a call whose exit code somebody might want to be another. */
  readonly receipt: Receipt;
  readonly exitCode: number;
  /** Each call that was made, and how many entries the record had of it. */
  readonly recorded: readonly RecordedCall[];
}

export interface RecordedCall {
  readonly call: NonNullable<Finding["call"]>;
  readonly entries: number;
}

/** Verifies the record, then lies about it twice, each time by one byte, and looks whether that is found. */
export function provenSteps(stage: Stage, evidence: Evidence): readonly (() => Finding)[] {
  return [
    () => countCalls(evidence),
    () => verifyWhole(stage, evidence),
    () => verifyOne(stage, evidence),
    () => alterReceipt(evidence),
    () => alterCopy(stage, evidence),
  ];
}

type Line = Omit<Finding, "ms" | "verdict" | "happened">;
type Judgement = Pick<Finding, "verdict" | "happened">;

function timed(line: Line, judge: () => Judgement): Finding {
  const started = performance.now();
  const judgement = judge();
  return { ...line, ...judgement, ms: elapsedMs(started) };
}

/** A refusal is one entry; a call that was let in is three: what was asked, what was seen, how it ended. */
function countCalls({ recorded }: Evidence): Finding {
  const line = { id: "every-call-recorded", subject: "log show", asked: "every call above" };
  return timed(line, () => {
    const isRefusal = ({ outcome }: RecordedCall["call"]): boolean =>
      outcome === "forbidden" || outcome === "invalid" || outcome === "unstarted";
    const missing = recorded.filter(({ call, entries }) => entries < (isRefusal(call) ? 1 : 3));
    return missing.length === 0 && recorded.length > 0
      ? { verdict: "held", happened: `${recorded.length} calls on record, refusals too` }
      : { verdict: "wrong", happened: `not on record: ${missing.map(({ call }) => call.id).join(", ")}` };
  });
}

function verifyWhole({ stateDir }: Stage, { key }: Evidence): Finding {
  const line = { id: "log-verified", subject: "log verify", asked: "every entry, from the first" };
  return timed(line, () => {
    const log = verifyLog(stateDir, key);
    return log.problems.length === 0 && log.size > 1
      ? { verdict: "verified", happened: `${log.size} entries, as they were signed` }
      : { verdict: "wrong", happened: problemsOf(log) };
  });
}

function verifyOne({ root }: Stage, { key, receipt }: Evidence): Finding {
  const file = join(root, "receipt.json");
  writeFileSync(file, JSON.stringify(receipt));
  const line = { id: "receipt-verified", subject: "receipt verify", asked: "one file and the public key" };
  return timed(line, () => {
    const proof = tryReceipt(readFileSync(file, "utf8"), key);
    return proof instanceof GateError
      ? { verdict: "wrong", happened: proof.message }
      : { verdict: "verified", happened: `offline: entry ${proof.index} of a log of ${proof.size}` };
  });
}

function alterReceipt({ key, receipt, exitCode }: Evidence): Finding {
  const entry = receipt.entry.replace(`"exitCode":${exitCode}`, '"exitCode":0');
  const line = {
    id: "receipt-altered",
    subject: "receipt verify",
    asked: `its exit code ${exitCode} made 0`,
  };
  return timed(line, () => {
    const proof = tryReceipt(JSON.stringify({ ...receipt, entry }), key);
    return entry !== receipt.entry && proof instanceof GateError && proof.code === "ERR_RECEIPT_INVALID"
      ? { verdict: "found", happened: proof.message.replace(/^.*?: /, "") }
      : { verdict: "wrong", happened: "a receipt that lies was taken" };
  });
}

function alterCopy({ root, stateDir }: Stage, { key, receipt, exitCode }: Evidence): Finding {
  const copy = join(root, "copy");
  exportLog(stateDir, copy);
  const untouched = verifyLog(copy, key);
  const { index } = verifyReceipt(JSON.stringify(receipt), key);
  const changed = alterEntry(copy, receipt.entry, exitCode);
  const line = {
    id: "copy-altered",
    subject: "log verify",
    asked: `a copy: one byte of entry ${index}`,
  };
  return timed(line, () => {
    const log = verifyLog(copy, key);
    const found = log.problems.find((problem) => problem.index === index);
    return untouched.problems.length === 0 && changed && found !== undefined
      ? { verdict: "found", happened: `entry ${index}: ${found.message}` }
      : { verdict: "wrong", happened: changed ? "a byte was changed and not found" : "no byte was changed" };
  });
}

/** Makes one digit of one entry another, in the file of the copy that holds it. */
function alterEntry(copy: string, entry: string, exitCode: number): boolean {
  const before = Buffer.from(`"exitCode":${exitCode}`);
  const at = Buffer.from(entry).indexOf(before);
  if (at < 0 || String(exitCode).length !== 1) return false;
  for (const path of globSync("tile/entries/**", { cwd: copy, withFileTypes: true })) {
    if (!path.isFile()) continue;
    const file = join(path.parentPath, path.name);
    const bytes = readFileSync(file);
    const start = bytes.indexOf(entry);
    if (start < 0) continue;
    bytes[start + at + before.length - 1] = "0".charCodeAt(0);
    writeFileSync(file, bytes);
    return true;
  }
  return false;
}

function tryReceipt(text: string, key: string): VerifiedReceipt | GateError {
  try {
    return verifyReceipt(text, key);
  } catch (error) {
    if (error instanceof GateError) return error;
    throw error;
  }
}

function problemsOf({ problems, size }: LogVerification): string {
  return problems.map(({ message }) => message).join("; ") || `${size} entries`;
}
