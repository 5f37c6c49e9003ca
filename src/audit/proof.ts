import { decodeBase64, encodeBase64 } from "./base64.ts";
import { parseDecimal } from "./checkpoint.ts";
import { HASH_BYTES } from "./merkle.ts";

/** C2SP `tlog-proof`: an index, an inclusion proof and a checkpoint as one text. */

const HEADER = "c2sp.org/tlog-proof@v1";
/** No tree that fits safe integers is higher. */
const PROOF_HASHES_MAX = 53;

export interface TlogProof {
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
  /** The signed note, not yet verified. */
  readonly checkpoint: string;
}

export function formatProof(index: number, hashes: readonly Uint8Array[], checkpoint: string): string {
  let text = `${HEADER}\nindex ${index}\n`;
  for (const hash of hashes) text += `${encodeBase64(hash)}\n`;
  return `${text}\n${checkpoint}`;
}

/** Reads a proof, or undefined where it is malformed. The unauthenticated `extra` line is read over. */
export function parseProof(text: string): TlogProof | undefined {
  const end = text.indexOf("\n\n");
  if (end < 0) return undefined;
  const lines = text.slice(0, end).split("\n");
  if (lines.shift() !== HEADER) return undefined;
  const [, extra] = /^extra (.*)$/.exec(lines[0] ?? "") ?? [];
  if (extra !== undefined) {
    if (decodeBase64(extra) === undefined) return undefined;
    lines.shift();
  }
  const [, indexText = ""] = /^index (.*)$/.exec(lines.shift() ?? "") ?? [];
  const index = parseDecimal(indexText);
  if (index === undefined || lines.length > PROOF_HASHES_MAX) return undefined;
  const hashes: Uint8Array[] = [];
  for (const line of lines) {
    const hash = decodeBase64(line);
    if (hash?.length !== HASH_BYTES) return undefined;
    hashes.push(hash);
  }
  return { index, hashes, checkpoint: text.slice(end + 2) };
}
