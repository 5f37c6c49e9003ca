import assert from "node:assert/strict";
import { GateError, type GateErrorCode } from "../contract/errors.ts";

export interface ExpectedError {
  readonly code: GateErrorCode;
  readonly message: RegExp;
  /** `file:line:column`, as far as the error knows it. */
  readonly at?: string;
  readonly remedy?: RegExp;
}

function check(error: unknown, expected: ExpectedError): true {
  assert.ok(error instanceof GateError, `not a GateError: ${error instanceof Error ? error.stack : error}`);
  const { code, message, place, remedy } = error;
  assert.equal(code, expected.code, message);
  assert.match(message, expected.message);
  // House style: lower case, no period (style.md, "Cedar, Dropshot").
  assert.match(message, /^[^A-Z]/);
  assert.doesNotMatch(message, /\.$/);
  if (expected.at !== undefined) {
    const at = [place?.file, place?.line, place?.column].filter((part) => part !== undefined).join(":");
    assert.equal(at, expected.at, message);
  }
  if (expected.remedy !== undefined) assert.match(remedy ?? "", expected.remedy);
  return true;
}

/** Asserts that `act` throws a GateError with this code, message and place, in the house's style. */
export function refuses(act: () => unknown, expected: ExpectedError): void {
  assert.throws(act, (error) => check(error, expected));
}
