import { ERRORS, GateError, type GateErrorCode } from "../contract/errors.ts";

/** A fault as plain data, because structured cloning keeps neither class nor code. */
export interface FaultData {
  readonly code: GateErrorCode;
  readonly message: string;
  readonly remedy: string | undefined;
  readonly internal: string | undefined;
}

export function toFaultData(fault: unknown): FaultData {
  if (fault instanceof GateError) {
    return { code: fault.code, message: fault.message, remedy: fault.remedy, internal: fault.internal };
  }
  const internal = fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
  return { code: "ERR_INTERNAL", message: "the record's writer failed", remedy: undefined, internal };
}

export function fromFaultData({ code, message, remedy, internal }: FaultData): GateError {
  return new GateError(code in ERRORS ? code : "ERR_INTERNAL", message, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(internal === undefined ? {} : { internal }),
  });
}
