/** What every code means: the exit code of the command line and one line for `docs/errors.md`. */
export const ERRORS = {
  ERR_USAGE: { exit: 64, summary: "the command line or the library was called in a way that has no meaning" },
  ERR_INPUT_SYNTAX: {
    exit: 65,
    summary: "the input is not JSON, holds a duplicate key, a NUL or an inexact number",
  },
  ERR_INPUT_TOO_LARGE: { exit: 65, summary: "the input is larger than the profile's input limit" },
  ERR_INPUT_TOO_DEEP: { exit: 65, summary: "the input nests deeper than the gate reads" },
  ERR_INPUT_SCHEMA: { exit: 65, summary: "the input does not fit the tool's schema" },
  ERR_INPUT_OPTION_LIKE: { exit: 65, summary: "a value would be read as an option by the command" },
  ERR_PATH_OUTSIDE: { exit: 65, summary: "a path leaves the workspace" },
  ERR_TOOL_UNKNOWN: { exit: 64, summary: "no tool of that name is in the catalogue" },
  ERR_CONFIG_NOT_FOUND: { exit: 78, summary: "a configuration file that was named does not exist" },
  ERR_CONFIG_SYNTAX: { exit: 78, summary: "a configuration file is not well-formed YAML or JSON" },
  ERR_CONFIG_INVALID: {
    exit: 78,
    summary: "a configuration file has an unknown key or a value that does not fit",
  },
  ERR_CONFIG_UNTRUSTED: {
    exit: 78,
    summary: "the project's configuration has not been trusted, or changed since",
  },
  ERR_TOOL_DUPLICATE: { exit: 78, summary: "two manifests carry the same tool name" },
  ERR_TOOL_SCHEMA: { exit: 78, summary: "a tool's input or output schema is not a usable JSON Schema" },
  ERR_LOCK_MISMATCH: { exit: 78, summary: "a tool is new or changed against callgate.lock" },
  ERR_POLICY_SYNTAX: { exit: 78, summary: "a policy file does not parse" },
  ERR_POLICY_INVALID: { exit: 78, summary: "a policy names a tool or a field that does not exist" },
  ERR_POLICY_EVALUATION: { exit: 77, summary: "a policy failed while it was evaluated, which forbids" },
  ERR_FORBIDDEN: { exit: 77, summary: "policy does not permit this call" },
  ERR_OBLIGATION_UNMET: {
    exit: 77,
    summary: "the call is permitted only with something this gateway cannot give",
  },
  ERR_CAPABILITY: {
    exit: 77,
    summary: "the capability does not cover this call, is used up, or has expired",
  },
  ERR_CREDENTIAL: { exit: 77, summary: "a credential is unknown, not for this tool, or cannot be had" },
  ERR_DEPTH: { exit: 77, summary: "the call is nested deeper than calls may be" },
  ERR_APPROVAL_NEEDED: { exit: 75, summary: "people have to approve this call first" },
  ERR_CONTROL_UNAVAILABLE: { exit: 69, summary: "a required control cannot be enforced on this host" },
  ERR_DRIVER_UNAVAILABLE: { exit: 69, summary: "no driver for the isolation class works on this host" },
  ERR_SANDBOX_START: { exit: 69, summary: "the sandbox could not be built" },
  ERR_COMMAND_START: { exit: 69, summary: "the tool's program could not be started inside the sandbox" },
  ERR_OUTPUT_SCHEMA: { exit: 70, summary: "the tool's output does not fit its output schema" },
  ERR_STATE_UNWRITABLE: { exit: 70, summary: "the state folder cannot be written, or the disk is full" },
  ERR_STATE_PERMISSIONS: {
    exit: 70,
    summary: "the state folder or the key can be read or written by others",
  },
  ERR_STATE_CORRUPT: { exit: 70, summary: "the record's database is damaged" },
  ERR_STATE_NEWER: { exit: 70, summary: "the record's database was written by a newer version" },
  ERR_STATE_ROLLBACK: {
    exit: 70,
    summary: "the record went backwards: entries that were once signed are missing",
  },
  ERR_KEY_MISSING: { exit: 70, summary: "the log exists and its signing key does not" },
  ERR_KEY_INVALID: { exit: 70, summary: "a key cannot be read or is not the log's key" },
  ERR_CHANGES_REFUSED: {
    exit: 77,
    summary: "the tool's staged changes hold one that may not be made, so none was",
  },
  ERR_CHANGES_CONFLICT: { exit: 75, summary: "a tree changed while a tool worked on its private copy of it" },
  ERR_CHANGES_FAILED: { exit: 70, summary: "staged changes could not be written, and were taken back" },
  ERR_RECEIPT_INVALID: { exit: 65, summary: "a receipt does not prove what it says" },
  ERR_LOG_INVALID: { exit: 65, summary: "the log does not verify" },
  ERR_NOT_FOUND: { exit: 65, summary: "no such call or entry is in the record" },
  ERR_INTERNAL: { exit: 70, summary: "a fault of ours" },
} as const;

/** The closed set of codes; `docs/errors.md` lists each, and a test holds the two together. */
export type GateErrorCode = keyof typeof ERRORS;

/** Where in a file something is wrong; lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

export interface GateErrorOptions {
  readonly cause?: unknown;
  /** What the reader can do next, as one sentence or command. */
  readonly remedy?: string;
  readonly place?: Place;
  /** For the log only; never shown to the caller. */
  readonly internal?: string;
  /** Further faults that were found beside this one, in the order of their places. */
  readonly also?: readonly GateError[];
}

/** A fault. Outcomes (a forbid, a kill) are values and never thrown. `message` is safe to show a caller. */
export class GateError extends Error {
  override readonly name = "GateError";
  readonly code: GateErrorCode;
  readonly remedy: string | undefined;
  readonly place: Place | undefined;
  readonly internal: string | undefined;
  readonly also: readonly GateError[];

  constructor(code: GateErrorCode, message: string, options: GateErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
    this.place = options.place;
    this.internal = options.internal;
    this.also = options.also ?? [];
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** `file:line:column`, as far as it is known. */
export function formatPlace(place: Place): string {
  return [place.file, place.line, place.column].filter((part) => part !== undefined).join(":");
}
