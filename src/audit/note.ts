import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { decodeBase64, encodeBase64 } from "./base64.ts";

/** C2SP `signed-note` v1.0.0 with Ed25519 keys, signature type 0x01. */

const ED25519 = 0x01;
const KEY_ID_BYTES = 4;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** More than sixteen post-quantum signatures, which every verifier has to accept. */
const NOTE_BYTES_MAX = 256 * 1024;

/** What checks notes: a key, and the name it signs under. */
export interface Verifier {
  readonly name: string;
  readonly id: Uint8Array;
  readonly key: KeyObject;
}

/** What makes notes. */
export interface Signer {
  readonly name: string;
  readonly id: Uint8Array;
  readonly key: KeyObject;
}

/** Key names are not empty and hold no space of any kind, plus sign or control character. */
export function isKeyName(name: string): boolean {
  return name !== "" && !/[\s+\p{Z}\p{Cc}]/u.test(name);
}

/** SHA-256(key name || 0x0A || signature type || public key)[:4]. */
export function keyId(name: string, publicKey: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update(`${name}\n`).update(Uint8Array.of(ED25519)).update(publicKey);
  return digest.digest().subarray(0, KEY_ID_BYTES);
}

/** `<name>+<key id in hex>+<base64 of type and key>`: the vkey form of golang.org/x/mod/sumdb/note. */
export function formatVerifierKey(name: string, publicKey: Uint8Array): string {
  const id = Buffer.from(keyId(name, publicKey)).toString("hex");
  return `${name}+${id}+${encodeBase64(Buffer.from([ED25519, ...publicKey]))}`;
}

/** The key as Node's crypto takes it. */
export function publicKeyObject(publicKey: Uint8Array): KeyObject {
  const x = Buffer.from(publicKey).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}

/** Reads a vkey line, or undefined where it is not one. */
export function parseVerifierKey(text: string): Verifier | undefined {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text);
  const [, name = "", idHex = "", keyText = ""] = match ?? [];
  const encoded = decodeBase64(keyText);
  if (!isKeyName(name) || encoded?.length !== 1 + PUBLIC_KEY_BYTES || encoded[0] !== ED25519)
    return undefined;
  const publicKey = encoded.subarray(1);
  const id = keyId(name, publicKey);
  if (Buffer.from(id).toString("hex") !== idHex) return undefined;
  return { name, id, key: publicKeyObject(publicKey) };
}

/** Signs `text`, which ends in a newline. */
export function signNote(text: string, signer: Signer): string {
  const signature = sign(null, Buffer.from(text), signer.key);
  return `${text}\n— ${signer.name} ${Buffer.concat([signer.id, signature]).toString("base64")}\n`;
}

interface SignatureLine {
  readonly name: string;
  readonly bytes: Uint8Array;
}

function parseSignature(line: string): SignatureLine | undefined {
  const [, name = "", encoded = ""] = /^— (\S+) (\S+)$/u.exec(line) ?? [];
  const bytes = decodeBase64(encoded);
  if (!isKeyName(name) || bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, bytes };
}

/**
 * The text of a note that `verifier` signed, or undefined where it is malformed or not signed so. Signatures by
 * other keys are ignored; one by this key that does not hold refuses the whole note.
 */
export function openNote(note: string, verifier: Verifier): string | undefined {
  if (note.length > NOTE_BYTES_MAX || !note.isWellFormed() || /[\x00-\x09\x0b-\x1f]/.test(note))
    return undefined;
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) return undefined;
  const text = note.slice(0, end + 1);
  const lines = note
    .slice(end + 2, -1)
    .split("\n")
    .map(parseSignature);
  let signed = false;
  for (const line of lines) {
    if (line === undefined) return undefined;
    if (line.name !== verifier.name) continue;
    if (Buffer.compare(line.bytes.subarray(0, KEY_ID_BYTES), verifier.id) !== 0) continue;
    const signature = line.bytes.subarray(KEY_ID_BYTES);
    if (signature.length !== SIGNATURE_BYTES) return undefined;
    if (!verify(null, Buffer.from(text), verifier.key, signature)) return undefined;
    signed = true;
  }
  return signed ? text : undefined;
}
