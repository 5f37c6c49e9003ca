import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { linkSync, readFileSync, unlinkSync } from "node:fs";
import { GateError } from "../contract/errors.ts";
import {
  checkPrivate,
  ensureStateDir,
  errnoOf,
  statePath,
  syncDir,
  unwritable,
  writeNewFile,
} from "../store/state-dir.ts";

/** The log's signing key: Ed25519, PKCS8 PEM, `log.key` in the state folder, mode 0600. */
export interface LogKey {
  readonly privateKey: KeyObject;
  /** The 32 bytes of RFC 8032. */
  readonly publicKey: Uint8Array;
}

/**
 * Makes the log's key where there is none; of several processes one makes it. Makes the state folder too.
 * @throws GateError `ERR_STATE_UNWRITABLE`, `ERR_STATE_PERMISSIONS`
 */
export function createKey(stateDir: string): void {
  ensureStateDir(stateDir);
  const path = statePath(stateDir, "key");
  const { privateKey } = generateKeyPairSync("ed25519");
  // Written in full under another name first: a key is there whole or not at all, and never written over.
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    writeNewFile(draft, privateKey.export({ type: "pkcs8", format: "pem" }).toString(), 0o600);
    try {
      linkSync(draft, path);
    } catch (fault) {
      if (errnoOf(fault) !== "EEXIST") throw fault;
    } finally {
      unlinkSync(draft);
    }
    syncDir(stateDir);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function readKeyFile(path: string): Buffer | undefined {
  try {
    checkPrivate(path);
    return readFileSync(path);
  } catch (cause) {
    if (cause instanceof GateError) throw cause;
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw new GateError("ERR_KEY_INVALID", `\`${path}\` cannot be read`, {
      cause,
      remedy: "make the key readable for the user the gate runs as",
    });
  }
}

/**
 * The log's key, or undefined where there is none.
 * @throws GateError `ERR_KEY_INVALID`, `ERR_STATE_PERMISSIONS`
 */
export function readKey(stateDir: string): LogKey | undefined {
  const path = statePath(stateDir, "key");
  const pem = readKeyFile(path);
  if (pem === undefined) return undefined;
  const invalid = (): GateError =>
    // No cause: what a parser says of a key may quote it.
    new GateError("ERR_KEY_INVALID", `\`${path}\` is not an Ed25519 private key`, {
      remedy: "restore `log.key` from a backup, or start a new record with `--state DIR`",
    });
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey({ key: pem, format: "pem" });
  } catch {
    throw invalid();
  } finally {
    pem.fill(0);
  }
  if (privateKey.asymmetricKeyType !== "ed25519") throw invalid();
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return { privateKey, publicKey: Buffer.from(x ?? "", "base64url") };
}
