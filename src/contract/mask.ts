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
  // What HTTP makes of a header (RFC 9110 5.5).
  const latin1 = Buffer.from(text, "latin1");
  const asHeader = latin1.toString("latin1") === text && !latin1.equals(bytes) ? [latin1] : [];
  return [bytes, ...asHeader, ...texts.map((form) => Buffer.from(form))];
}

/** Masks a fixed set of secrets. Immutable. */
export class Masker {
  readonly #forms: readonly Buffer[];
  readonly #texts: readonly string[];
  /** Forms by their first byte, the longest first. */
  #byFirst: ReadonlyMap<number, readonly Buffer[]> | undefined;

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

  /** Whether there is nothing to mask. */
  get isIdle(): boolean {
    return this.#forms.length === 0;
  }

  text(text: string): string {
    let masked = text;
    for (const form of this.#texts) if (masked.includes(form)) masked = masked.replaceAll(form, MASK);
    return masked;
  }

  /** The same bytes where nothing is to be masked. */
  bytes(bytes: Uint8Array): Uint8Array {
    if (this.isIdle) return bytes;
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

  /** A JSON value with every text and key in it masked, and every number that reads as a secret. */
  json<T>(value: T): T {
    return (this.isIdle ? value : this.#json(value)) as T;
  }

  /**
   * What the bytes show at a place: how long the longest form there is, 0 for none; undefined where they end within
   * one, so that more of them are needed.
   */
  at(bytes: Uint8Array, place: number): number | undefined {
    this.#byFirst ??= Map.groupBy(this.#forms, (form) => form[0] ?? 0);
    const left = bytes.length - place;
    for (const form of this.#byFirst.get(bytes[place] ?? 0) ?? []) {
      let same = 1;
      while (same < form.length && same < left && bytes[place + same] === form[same]) same += 1;
      if (same === form.length) return same;
      if (same === left) return undefined;
    }
    return 0;
  }

  #json(value: unknown): unknown {
    if (typeof value === "string") return this.text(value);
    // A number has no place for a mask.
    if (typeof value === "number") return this.text(String(value)) === String(value) ? value : MASK;
    if (Array.isArray(value)) return value.map((each) => this.#json(each));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [this.text(key), this.#json(each)]));
  }
}

/**
 * Masks what comes in pieces: a secret cut in two is found, and only what may be the beginning of one is held back.
 * Where two secrets overlap, all that either covers is masked.
 */
export class StreamMasker {
  readonly #masker: () => Masker;
  #held: Uint8Array = new Uint8Array();
  /** How many of the bytes to come belong to a secret that was found. */
  #covered = 0;

  /** @param masker the one in force: secrets may be learnt on the way */
  constructor(masker: () => Masker) {
    this.#masker = masker;
  }

  push(chunk: Uint8Array): Uint8Array {
    return this.#take(chunk, false);
  }

  /** What was held back: nothing more comes. */
  end(): Uint8Array {
    return this.#take(new Uint8Array(), true);
  }

  #take(chunk: Uint8Array, isLast: boolean): Uint8Array {
    const masker = this.#masker();
    if (masker.isIdle && this.#held.length === 0) return chunk;
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const parts: Uint8Array[] = [];
    let shown = 0;
    let place = 0;
    for (; place < bytes.length; place += 1) {
      const found = masker.at(bytes, place);
      if (found === undefined && !isLast) break;
      if (this.#covered === 0 && found) parts.push(bytes.subarray(shown, place), Buffer.from(MASK));
      this.#covered = Math.max(this.#covered, found ?? 0);
      if (this.#covered === 0) continue;
      this.#covered -= 1;
      shown = place + 1;
    }
    parts.push(bytes.subarray(shown, place));
    this.#held = Uint8Array.from(bytes.subarray(place));
    return Buffer.concat(parts);
  }
}

/** `bytes` with every known secret masked; see `Masker`. */
export function maskSecrets(bytes: Uint8Array, secrets: readonly (string | Uint8Array)[]): Uint8Array {
  return new Masker(secrets).bytes(bytes);
}
