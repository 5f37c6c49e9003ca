import { readFileSync } from "node:fs";
import { parseVerifierKey } from "../../audit/note.ts";
import { GateError } from "../../contract/errors.ts";

/** What `--key` says: a vkey line, or a file that holds one. @throws GateError `ERR_KEY_INVALID`. */
export function readVerifierKey(given: string): string {
  if (parseVerifierKey(given.trim()) !== undefined) return given.trim();
  let text: string;
  try {
    text = readFileSync(given, "utf8").trim();
  } catch (cause) {
    throw new GateError(
      "ERR_KEY_INVALID",
      `\`${given}\` is neither a vkey line nor a file that can be read`,
      {
        cause,
        remedy: "pass the line of `log.pub`, which reads NAME+ID+KEY, or the path of that file",
      },
    );
  }
  if (parseVerifierKey(text) !== undefined) return text;
  throw new GateError("ERR_KEY_INVALID", `\`${given}\` does not hold a vkey line`, {
    remedy: "pass the log's public key, `log.pub`, which reads NAME+ID+KEY",
  });
}
