/** Masking of known secrets: exact values and the forms in which they usually travel, nothing guessed. */

/** Shorter values are no secrets and would mask half of every text. */
export const SECRET_CHARS_MIN = 6;
/** What stands where a secret stood. */
export const MASK = "[masked]";

const BASE64_BITS = 6;

/**
 * The base64 characters that a value alone decides, for each of the three places it may have in a group of three
 * bytes: so it is found in `base64("user:" + secret)` too.
 */
function base64Forms(bytes: Uint8Array): readonly string[] {
  return [0, 1, 2].flatMap((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
    const first = Math.ceil((offset * 8) / BASE64_BITS);
    const end = Math.floor(((offset + bytes.length) * 8) / BASE64_BITS);
    const standard = shifted.slice(first, end);
    return [standard, standard.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

function percentForms(bytes: Uint8Array): readonly string[] {
  const encode = (plain: RegExp, lower: boolean): string =>
    Array.from(bytes, (byte) => {
      const character = String.fromCharCode(byte);
      if (plain.test(character)) return character;
      const hex = byte.toString(16).padStart(2, "0");
      return `%${lower ? hex : hex.toUpperCase()}`;
    }).join("");
  // RFC 3986's unreserved characters, and those encodeURIComponent leaves alone; forms write a space as plus.
  const sets = [/[A-Za-z0-9._~-]/, /[A-Za-z0-9._~!'()*-]/, /[A-Za-z0-9._*-]/];
  const encoded = sets.flatMap((plain) => [encode(plain, false), encode(plain, true)]);
  return [...encoded, ...encoded.map((form) => form.replaceAll("%20", "+"))];
}

/** JSON strings, and JSON strings inside JSON strings. */
function jsonForms(text: string): readonly string[] {
  const once = JSON.stringify(text).slice(1, -1);
  return [once, once.replaceAll("/", "\\/"), JSON.stringify(once).slice(1, -1)];
}

function formsOf(secret: string | Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(secret);
  const text = bytes.toString("utf8");
  if (text.length < SECRET_CHARS_MIN) return [];
  const texts = [...base64Forms(bytes), ...percentForms(bytes)];
  // A value that is no text has no JSON form.
  if (Buffer.from(text).equals(bytes)) texts.push(...jsonForms(text));
  return [bytes, ...texts.map((form) => Buffer.from(form))];
}

/** Masks a fixed set of secrets. Immutable. */
export class Masker {
  readonly #forms: readonly Buffer[];
  readonly #texts: readonly string[];

  constructor(secrets: readonly (string | Uint8Array)[]) {
    const forms = new Map<string, Buffer>();
    for (const form of secrets.flatMap(formsOf)) forms.set(form.toString("latin1"), form);
    // The longest first: where one secret is part of another, no rest of the longer one stays behind.
    this.#forms = [...forms.values()].sort((a, b) => b.length - a.length);
    // A form that is no text stands in no text; one that holds U+FFFD itself is one.
    this.#texts = this.#forms
      .filter((form) => Buffer.from(form.toString("utf8")).equals(form))
      .map((form) => form.toString("utf8"));
  }

  text(text: string): string {
    let masked = text;
    for (const form of this.#texts) if (masked.includes(form)) masked = masked.replaceAll(form, MASK);
    return masked;
  }

  /** The same bytes where nothing is to be masked. */
  bytes(bytes: Uint8Array): Uint8Array {
    if (this.#forms.length === 0) return bytes;
    let masked: Buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let changed = false;
    for (const form of this.#forms) {
      let at = masked.indexOf(form);
      if (at < 0) continue;
      const parts: Buffer[] = [];
      let from = 0;
      for (; at >= 0; at = masked.indexOf(form, from)) {
        parts.push(masked.subarray(from, at), Buffer.from(MASK));
        from = at + form.length;
      }
      masked = Buffer.concat([...parts, masked.subarray(from)]);
      changed = true;
    }
    return changed ? masked : bytes;
  }
}

/** `bytes` with every known secret masked; see `Masker`. */
export function maskSecrets(bytes: Uint8Array, secrets: readonly (string | Uint8Array)[]): Uint8Array {
  return new Masker(secrets).bytes(bytes);
}
