import { hash } from "node:crypto";
import { GateError } from "../contract/errors.ts";
import type { LogIdentity } from "./committer.ts";
import { type LogKey, readKey } from "./key.ts";
import { keyId, publicKeyObject } from "./note.ts";

/** A new log's origin: its own name, from its key, so that no two logs share one. */
export function originOf(publicKey: Uint8Array): string {
  return `callgate.local/${hash("sha256", publicKey, "hex").slice(0, 16)}`;
}

/** @throws GateError `ERR_KEY_MISSING`, `ERR_KEY_INVALID`, `ERR_STATE_PERMISSIONS` */
export function requireKey(stateDir: string): LogKey {
  const key = readKey(stateDir);
  if (key !== undefined) return key;
  throw new GateError(
    "ERR_KEY_MISSING",
    `the record in \`${stateDir}\` exists and its signing key does not`,
    {
      remedy: "put `log.key` back from a backup, or start a new record with `--state DIR`",
    },
  );
}

export function identityOf(key: LogKey, origin: string): LogIdentity {
  const id = keyId(origin, key.publicKey);
  return {
    signer: { name: origin, id, key: key.privateKey },
    verifier: { name: origin, id, key: publicKeyObject(key.publicKey) },
  };
}

/** Reads the key again, for the writer's thread: a key never crosses between threads. */
export function logIdentity(stateDir: string, origin: string): LogIdentity {
  return identityOf(requireKey(stateDir), origin);
}
