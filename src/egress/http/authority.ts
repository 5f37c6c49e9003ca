import { createHash, generateKeyPair, type KeyObject, randomBytes, sign } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import { promisify } from "node:util";
import * as der from "./der.ts";

/** Names whose certificates are kept at a time. */
export const LEAVES_MAX = 256;

const HOUR_MS = 3_600_000;
const DAY_MS: number = 24 * HOUR_MS;
const AUTHORITY_DAYS = 30;
const LEAF_DAYS = 7;
/** A leaf that has less left than this is made anew. */
const LEAF_RENEW_MS: number = DAY_MS;
/** Clocks inside a sandbox may be behind. */
const BACKDATE_MS: number = HOUR_MS;
const SERIAL_BYTES = 16;

const NAME_COMMON = "2.5.4.3";
const ECDSA_WITH_SHA256: Buffer = der.sequence(der.objectIdentifier("1.2.840.10045.4.3.2"));
const SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
const KEY_USAGE = "2.5.29.15";
const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
const BASIC_CONSTRAINTS = "2.5.29.19";
const AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
const EXTENDED_KEY_USAGE = "2.5.29.37";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
/** RFC 5280 4.2.1.3: bits are counted from the left, and zeros at the end left out (X.690 11.2.2). */
const DIGITAL_SIGNATURE: Buffer = der.bitString(Buffer.of(0x80), 7);
const CERT_AND_CRL_SIGN: Buffer = der.bitString(Buffer.of(0x06), 1);

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

interface Leaf {
  readonly context: Promise<SecureContext>;
  readonly renewAtMs: number;
}

interface CertificateParts {
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly notAfterMs: number;
  readonly extensions: readonly Buffer[];
}

/**
 * The authority of one gateway, by which a connection that a rule opens is ended at the gate. Its key is in this
 * process's memory only, and it is trusted nowhere but in sandboxes.
 */
export class Authority {
  readonly pem: string;
  readonly #keys: KeyPair;
  readonly #name: Buffer;
  readonly #notAfterMs: number = Date.now() + AUTHORITY_DAYS * DAY_MS;
  /** In order of their last use. */
  readonly #leaves = new Map<string, Leaf>();

  private constructor(keys: KeyPair) {
    this.#keys = keys;
    const identifier = keyIdentifier(keys.publicKey);
    // Tools find issuers by name: no two gateways' may be one.
    this.#name = distinguishedName(`Callgate ${identifier.toString("hex", 0, 8)}`);
    this.pem = this.#certificate({
      subject: this.#name,
      publicKey: keys.publicKey,
      notAfterMs: this.#notAfterMs,
      extensions: [
        // May sign leaves, and no authority below it.
        extension(BASIC_CONSTRAINTS, true, der.sequence(der.boolean(true), der.integer(Buffer.of(0)))),
        extension(KEY_USAGE, true, CERT_AND_CRL_SIGN),
        extension(SUBJECT_KEY_IDENTIFIER, false, der.octetString(identifier)),
      ],
    });
  }

  static async create(): Promise<Authority> {
    return new Authority(await generateKeys());
  }

  /** @returns what ends TLS as `name` (lower case): a certificate of this authority, and its key. */
  contextFor(name: string): Promise<SecureContext> {
    const known = this.#leaves.get(name);
    this.#leaves.delete(name);
    const leaf = known !== undefined && Date.now() < known.renewAtMs ? known : this.#leafFor(name);
    this.#leaves.set(name, leaf);
    if (this.#leaves.size > LEAVES_MAX) {
      const [oldest] = this.#leaves.keys();
      if (oldest !== undefined) this.#leaves.delete(oldest);
    }
    return leaf.context;
  }

  #leafFor(name: string): Leaf {
    // Never longer than its issuer's.
    const notAfterMs = Math.min(Date.now() + LEAF_DAYS * DAY_MS, this.#notAfterMs);
    const context = this.#make(name, notAfterMs);
    context.catch(() => {
      if (this.#leaves.get(name)?.context === context) this.#leaves.delete(name);
    });
    return { context, renewAtMs: notAfterMs - LEAF_RENEW_MS };
  }

  async #make(name: string, notAfterMs: number): Promise<SecureContext> {
    const { publicKey, privateKey } = await generateKeys();
    const alternative = der.sequence(der.implicit(2, Buffer.from(name, "latin1")));
    const issuer = der.sequence(der.implicit(0, keyIdentifier(this.#keys.publicKey)));
    const cert = this.#certificate({
      // The name stands in the SAN alone: a common name holds no more than 64 characters (RFC 5280 A.1).
      subject: distinguishedName("Callgate"),
      publicKey,
      notAfterMs,
      extensions: [
        extension(BASIC_CONSTRAINTS, true, der.sequence()),
        extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
        extension(EXTENDED_KEY_USAGE, false, der.sequence(der.objectIdentifier(SERVER_AUTH))),
        extension(SUBJECT_ALTERNATIVE_NAME, false, alternative),
        extension(SUBJECT_KEY_IDENTIFIER, false, der.octetString(keyIdentifier(publicKey))),
        extension(AUTHORITY_KEY_IDENTIFIER, false, issuer),
      ],
    });
    const key = privateKey.export({ type: "pkcs8", format: "pem" });
    return createSecureContext({ key, cert, minVersion: "TLSv1.2" });
  }

  /** RFC 5280 4.1, as PEM. */
  #certificate({ subject, publicKey, notAfterMs, extensions }: CertificateParts): string {
    const toBeSigned = der.sequence(
      der.explicit(0, der.integer(Buffer.of(2))),
      der.integer(serial()),
      ECDSA_WITH_SHA256,
      this.#name,
      der.sequence(der.utcTime(Date.now() - BACKDATE_MS), der.utcTime(notAfterMs)),
      subject,
      publicKey.export({ type: "spki", format: "der" }),
      der.explicit(3, der.sequence(...extensions)),
    );
    const signature = der.bitString(sign("sha256", toBeSigned, this.#keys.privateKey));
    const text = der.sequence(toBeSigned, ECDSA_WITH_SHA256, signature).toString("base64");
    const lines = text.match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }
}

async function generateKeys(): Promise<KeyPair> {
  return await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
}

/** RFC 5280 4.1.2.2: positive, at most 20 octets, never the same twice. */
function serial(): Buffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

/** RFC 7093 2 (1): the leftmost 160 bits of SHA-256 over the key. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

function distinguishedName(common: string): Buffer {
  return der.sequence(der.setOf(der.sequence(der.objectIdentifier(NAME_COMMON), der.utf8String(common))));
}

/** A default of `critical` is left out (X.690 11.5). */
function extension(id: string, critical: boolean, content: Buffer): Buffer {
  const flag = critical ? [der.boolean(true)] : [];
  return der.sequence(der.objectIdentifier(id), ...flag, der.octetString(content));
}
