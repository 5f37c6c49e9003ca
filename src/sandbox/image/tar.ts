const BLOCK = 512;
/** Long names and extended headers: more than a path and its attributes need. */
const EXTENSION_BYTES_MAX: number = 1024 * 1024;

export type TarKind = "file" | "folder" | "link" | "hard link" | "other";

/** One entry of an archive, before its content. */
export interface TarEntry {
  readonly path: string;
  readonly kind: TarKind;
  /** Permission bits, setuid and setgid among them. */
  readonly mode: number;
  readonly size: number;
  /** Of a link, of either kind. */
  readonly target: string;
}

/** Takes the entries of an archive. `content` is not called for entries without any. */
export interface TarSink {
  begin(entry: TarEntry): void;
  content(bytes: Uint8Array): void;
  end(): void;
}

/** What is wrong with an archive, in words that end a sentence. */
export class TarError extends Error {}

/**
 * Reads a tar archive, as POSIX pax and GNU tar write them (pax(1); tar.h). Knows no file system: it tells a sink what
 * is in there.
 * @throws TarError for what is no tar archive, or one that ends too early.
 */
export async function readTar(source: AsyncIterable<Uint8Array>, sink: TarSink): Promise<void> {
  const input = new Input(source);
  let extended: Extended = {};
  for (;;) {
    const header = await input.read(BLOCK);
    if (header === undefined || header.every((byte) => byte === 0)) break;
    const raw = parseHeader(header);
    if (raw.extension !== undefined) {
      if (raw.size > EXTENSION_BYTES_MAX) throw new TarError("an extended header is too long");
      const content = await input.whole(raw.size);
      extended =
        raw.extension === "g" ? extended : { ...extended, ...parseExtension(raw.extension, content) };
      continue;
    }
    const isFile = raw.kind === "file";
    // Links and folders have no content, whatever they say.
    const size = isFile || raw.kind === "other" ? (extended.size ?? raw.size) : 0;
    sink.begin({
      path: extended.path ?? raw.path,
      kind: raw.kind,
      mode: raw.mode,
      size: isFile ? size : 0,
      target: extended.target ?? raw.target,
    });
    await input.each(size, (bytes) => {
      if (isFile) sink.content(bytes);
    });
    sink.end();
    extended = {};
  }
  await input.rest();
}

interface Extended {
  readonly path?: string;
  readonly target?: string;
  readonly size?: number;
}

const KINDS: Readonly<Record<string, TarKind>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "hard link",
  "2": "link",
  "5": "folder",
};

interface Header {
  readonly path: string;
  readonly kind: TarKind;
  readonly mode: number;
  readonly size: number;
  readonly target: string;
  /** `x` and `g` of pax, `L` and `K` of GNU. */
  readonly extension: string | undefined;
}

function parseHeader(block: Buffer): Header {
  const stated = number(block, 148, 8);
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (stated !== sum) throw new TarError("a header's checksum does not fit");
  const flag = String.fromCharCode(block[156] ?? 0);
  const isPosix = block.toString("latin1", 257, 262) === "ustar" && block[262] === 0;
  const prefix = isPosix ? text(block, 345, 155) : "";
  const name = text(block, 0, 100);
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    kind: KINDS[flag] ?? "other",
    mode: number(block, 100, 8) & 0o7777,
    size: number(block, 124, 12),
    target: text(block, 157, 100),
    extension: /[xgLK]/.test(flag) ? flag : undefined,
  };
}

function parseExtension(kind: string, content: Buffer): Extended {
  if (kind === "L") return { path: text(content, 0, content.length) };
  if (kind === "K") return { target: text(content, 0, content.length) };
  let found: Extended = {};
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const length = Number(content.toString("latin1", at, space));
    if (space < 0 || !Number.isSafeInteger(length) || length <= space - at || at + length > content.length)
      throw new TarError("an extended header is malformed");
    const record = content.toString("utf8", space + 1, at + length - 1);
    const equals = record.indexOf("=");
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (key === "path") found = { ...found, path: value };
    if (key === "linkpath") found = { ...found, target: value };
    if (key === "size") found = { ...found, size: wholeNumber(value) };
    at += length;
  }
  return found;
}

function text(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return block.toString("utf8", at, end < 0 || end > at + length ? at + length : end);
}

/** Octal text, or GNU's base 256 where the first bit is set. */
function number(block: Buffer, at: number, length: number): number {
  if (((block[at] ?? 0) & 0x80) === 0) {
    const digits = block.toString("latin1", at, at + length).replace(/[\0 ]/g, "");
    if (!/^[0-7]*$/.test(digits)) throw new TarError("a number in a header is malformed");
    return digits === "" ? 0 : Number.parseInt(digits, 8);
  }
  let value = 0n;
  for (let i = 1; i < length; i += 1) value = (value << 8n) | BigInt(block[at + i] ?? 0);
  return wholeNumber(String(value));
}

function wholeNumber(digits: string): number {
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || !Number.isSafeInteger(value)) throw new TarError("a size is out of range");
  return value;
}

/** Pieces of any length in, blocks out. */
class Input {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#pieces = source[Symbol.asyncIterator]();
  }

  /** Exactly that many bytes, or undefined where nothing is left at all. */
  async read(length: number): Promise<Buffer | undefined> {
    while (this.#held.length < length) {
      const next = await this.#pieces.next();
      if (next.done === true) {
        if (this.#held.length === 0) return undefined;
        throw new TarError("it ends in the middle of an entry");
      }
      this.#held =
        this.#held.length === 0 ? Buffer.from(next.value) : Buffer.concat([this.#held, next.value]);
    }
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    return taken;
  }

  async whole(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    await this.each(length, (bytes) => pieces.push(Buffer.from(bytes)));
    return Buffer.concat(pieces);
  }

  /** An entry's content piece by piece, and what pads it to a whole block. */
  async each(length: number, take: (bytes: Uint8Array) => void): Promise<void> {
    for (let left = length; left > 0; ) {
      const piece = await this.read(Math.min(left, Math.max(this.#held.length, 1)));
      if (piece === undefined) throw new TarError("it ends in the middle of an entry");
      take(piece);
      left -= piece.length;
    }
    const padding = (BLOCK - (length % BLOCK)) % BLOCK;
    if (padding > 0 && (await this.read(padding)) === undefined)
      throw new TarError("it ends in the middle of an entry");
  }

  /** Whatever follows the end of the archive belongs to the layer's digest. */
  async rest(): Promise<void> {
    this.#held = Buffer.alloc(0);
    while ((await this.#pieces.next()).done !== true);
  }
}
