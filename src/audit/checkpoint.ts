import { decodeBase64, encodeBase64 } from "./base64.ts";
import { HASH_BYTES } from "./merkle.ts";
import { openNote, type Signer, signNote, type Verifier } from "./note.ts";

/** A tree head (C2SP `tlog-checkpoint`): so many entries, with this root. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** A decimal without leading zeroes that fits a safe integer; undefined otherwise. */
export function parseDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The head as a note signed by the log. */
export function signCheckpoint(head: Checkpoint, signer: Signer): string {
  return signNote(`${head.origin}\n${head.size}\n${encodeBase64(head.root)}\n`, signer);
}

/**
 * The head in a note, or undefined where it is malformed, of another origin, or not signed by `verifier`.
 * Extension lines are read over, as the specification has it.
 */
export function openCheckpoint(note: string, verifier: Verifier): Checkpoint | undefined {
  const text = openNote(note, verifier);
  if (text === undefined) return undefined;
  const [origin = "", sizeText = "", rootText = "", ...extensions] = text.slice(0, -1).split("\n");
  const size = parseDecimal(sizeText);
  const root = decodeBase64(rootText);
  if (origin !== verifier.name || size === undefined || root?.length !== HASH_BYTES) return undefined;
  if (extensions.includes("")) return undefined;
  return { origin, size, root };
}
