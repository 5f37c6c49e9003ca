import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Caller } from "../contract/call.ts";
import { formatPlace, GateError, type Place } from "../contract/errors.ts";
import type { Tool } from "../contract/tool.ts";
import type { Annotations } from "./annotations.ts";
import { fromByteOffset, type PolicyPiece, positionAt } from "./policy-text.ts";

/** A policy file's name and content. */
export interface PolicyFile {
  readonly file: string;
  readonly text: string;
}

/** One policy that was parsed, annotated and validated. */
export interface Policy {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  /** From its first annotation to its semicolon, as written. */
  readonly text: string;
  readonly place: Place;
  readonly json: PolicyJson;
  readonly annotations: Annotations;
}

/** Something that is allowed and probably not meant. */
export interface PolicyWarning {
  readonly policy: string;
  readonly place: Place;
  readonly message: string;
}

export interface PolicySet {
  readonly all: ReadonlyMap<string, Policy>;
  readonly warnings: readonly PolicyWarning[];
  /** The policies whose scope can match calls of this tool, by this kind of caller if given, in file order. */
  sliceFor(tool: Pick<Tool, "name">, kind?: Caller["kind"]): readonly Policy[];
}

/** A piece of a file that holds one policy. */
export interface PolicySource {
  readonly file: PolicyFile;
  readonly piece: PolicyPiece;
}

/** Where an error lies: `bytes` is Cedar's offset into the piece. */
export function placeIn({ file, piece }: PolicySource, bytes = 0): Place {
  return { file: file.file, ...positionAt(file.text, piece.offset + fromByteOffset(piece.text, bytes)) };
}

/** A fault in a policy file, with its place in the message too. */
export function policyError(
  code: "ERR_POLICY_INVALID" | "ERR_POLICY_SYNTAX",
  message: string,
  place: Place,
  remedy?: string,
): GateError {
  const options = remedy === undefined ? { place } : { place, remedy };
  return new GateError(code, `${formatPlace(place)}: ${message}`, options);
}
