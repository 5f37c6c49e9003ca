import { GateError } from "../contract/errors.ts";
import type { JsonObject } from "../contract/json.ts";
import { isJsonObject } from "../contract/json.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { opensCommitment } from "./commitment.ts";
import { ENTRY_BYTES_MAX, ENTRY_VERSION } from "./entry.ts";
import { leafHash } from "./merkle.ts";
import { verifyInclusion } from "./merkle-verify.ts";
import { parseVerifierKey, type Verifier } from "./note.ts";
import { parseProof } from "./proof.ts";
import { parseStrictObject } from "./strict-json.ts";

/** What a receipt proves: this entry, at this place, of the log of this origin. */
export interface VerifiedReceipt {
  readonly origin: string;
  readonly index: number;
  /** Of the log when the receipt was made. */
  readonly size: number;
  readonly root: Uint8Array;
  /** The signed note, to be kept: an older checkpoint is what shows a log that was changed later. */
  readonly checkpoint: string;
  readonly entry: JsonObject;
}

const RECEIPT_BYTES_MAX = 1024 * 1024;
const MEMBERS = "entry,origin,proof,version";

function invalid(why: string): GateError {
  return new GateError("ERR_RECEIPT_INVALID", `the receipt proves nothing: ${why}`, {
    remedy: "ask for it again with `callgate log receipt`, and check that the key is the log's",
  });
}

/** @throws GateError `ERR_KEY_INVALID` where `text` is not a vkey line. */
export function requireVerifier(text: string): Verifier {
  const verifier = parseVerifierKey(text.trim());
  if (verifier !== undefined) return verifier;
  throw new GateError("ERR_KEY_INVALID", "the log's public key is not a vkey line", {
    remedy: "pass the line of `log.pub`, which reads NAME+ID+KEY",
  });
}

/** Whether an entry says in so many words whose log it is of, in the version read here. */
export function isEntryOf(entry: JsonObject, origin: string): boolean {
  return (
    entry["version"] === ENTRY_VERSION && entry["origin"] === origin && typeof entry["kind"] === "string"
  );
}

/**
 * Verifies a receipt with nothing but the log's public key.
 * @throws GateError `ERR_RECEIPT_INVALID`, `ERR_KEY_INVALID`
 */
export function verifyReceipt(receipt: string | Uint8Array, verifierKey: string): VerifiedReceipt {
  const verifier = requireVerifier(verifierKey);
  if (receipt.length > RECEIPT_BYTES_MAX) throw invalid("it is too long");
  const text = typeof receipt === "string" ? receipt : decodeUtf8(receipt);
  const parsed = text === undefined ? undefined : parseStrictObject(text);
  if (parsed === undefined) throw invalid("it is not a JSON object without repeated keys");
  const { version, origin, entry: bytes, proof: proofText } = parsed;
  if (Object.keys(parsed).sort().join() !== MEMBERS)
    throw invalid("it has not exactly the members of a receipt");
  if (version !== 1) throw invalid("it is of another version");
  if (typeof bytes !== "string" || typeof proofText !== "string") throw invalid("a member is not a text");
  if (origin !== verifier.name) throw invalid("it is of another log than the key");
  if (Buffer.byteLength(bytes) > ENTRY_BYTES_MAX) throw invalid("its entry is too long");
  const entry = parseStrictObject(bytes);
  if (entry === undefined) throw invalid("its entry is not a JSON object without repeated keys");
  if (!isEntryOf(entry, verifier.name)) throw invalid("its entry is of another log or version");
  const proof = parseProof(proofText);
  if (proof === undefined) throw invalid("its proof is malformed");
  const head = openCheckpoint(proof.checkpoint, verifier);
  if (head === undefined) throw invalid("its checkpoint is not signed by this key");
  if (!verifyInclusion(proof.index, head.size, leafHash(bytes), proof.hashes, head.root)) {
    throw invalid("the entry is not in the tree that was signed");
  }
  const { index, checkpoint } = proof;
  return { origin: verifier.name, index, size: head.size, root: head.root, checkpoint, entry };
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Whether `salt` and `payload` are what an entry committed to under `name`. */
export function verifyPayload(
  entry: JsonObject,
  name: string,
  salt: Uint8Array,
  payload: Uint8Array,
): boolean {
  const payloads = entry["payloads"];
  const mention = isJsonObject(payloads) && Object.hasOwn(payloads, name) ? payloads[name] : undefined;
  if (!isJsonObject(mention) || typeof mention["commitment"] !== "string") return false;
  return mention["bytes"] === payload.length && opensCommitment(mention["commitment"], salt, payload);
}
