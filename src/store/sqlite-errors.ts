import { GateError } from "../contract/errors.ts";

/** Primary result codes (https://www.sqlite.org/rescode.html). */
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

function primaryCode(fault: unknown): number | undefined {
  const code = fault instanceof Error && "errcode" in fault ? fault.errcode : undefined;
  return typeof code === "number" ? code & 0xff : undefined;
}

/** Whether SQLite gave up waiting for another process. */
export function isBusy(fault: unknown): boolean {
  const code = primaryCode(fault);
  return code === BUSY || code === LOCKED;
}

/** What SQLite threw, in the words of the gate; anything else passes unchanged. */
export function fromSqlite(path: string, fault: unknown): unknown {
  const code = primaryCode(fault);
  if (code === undefined || !(fault instanceof Error)) return fault;
  const options = { cause: fault, internal: fault.message };
  switch (code) {
    case BUSY:
    case LOCKED:
      return new GateError("ERR_STATE_UNWRITABLE", `\`${path}\` is held by another process`, {
        ...options,
        remedy: "end the process that holds the record open, then try again",
      });
    case READONLY:
    case IOERR:
    case FULL:
    case CANTOPEN:
      return new GateError("ERR_STATE_UNWRITABLE", `\`${path}\` cannot be written (${fault.message})`, {
        ...options,
        remedy: "make the folder writable and free some space, or name another with `--state DIR`",
      });
    case CORRUPT:
    case NOTADB:
      return corrupt(path, fault.message, fault);
    default:
      return new GateError("ERR_INTERNAL", "the record's database refused a statement", options);
  }
}

/** The database is not what it should be. */
export function corrupt(path: string, what: string, cause?: unknown): GateError {
  return new GateError("ERR_STATE_CORRUPT", `\`${path}\` is damaged (${what})`, {
    ...(cause === undefined ? {} : { cause }),
    remedy:
      "keep a copy of the folder, run `callgate log verify` to see what is left, and go on with a backup or a new `--state DIR`",
  });
}
