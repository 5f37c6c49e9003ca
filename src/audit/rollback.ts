import { GateError } from "../contract/errors.ts";

/** Entries that were once signed are gone, or others stand in their place. */
export function wentBackwards(path: string, what: string): GateError {
  return new GateError("ERR_STATE_ROLLBACK", `the record in \`${path}\` went backwards: ${what}`, {
    remedy:
      "put back the newest copy of the state folder; if it is lost, keep this one as evidence and start a new record with `--state DIR`",
  });
}
