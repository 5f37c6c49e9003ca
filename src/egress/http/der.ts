/** Writes DER (X.690): as much of it as a certificate needs. */

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const BOOLEAN = 0x01;
const CONTEXT = 0x80;
const CONSTRUCTED = 0x20;

/** One value: tag, definite length (X.690 10.1), contents. */
export function value(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const size = content.length;
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), content]);
  const length = size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  if (size > 0xffff) throw new RangeError("a DER value of more than 65535 bytes");
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return value(SEQUENCE, ...items);
}

/** Of one item: more would have to be sorted (X.690 11.6). */
export function setOf(item: Uint8Array): Buffer {
  return value(SET, item);
}

/** @param bytes big-endian, not negative. */
export function integer(bytes: Uint8Array): Buffer {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at += 1;
  const shortest = bytes.subarray(at);
  // X.690 8.3.3: a first bit of 1 would make it negative.
  return value(INTEGER, ...((shortest[0] ?? 0) >= 0x80 ? [Buffer.of(0)] : []), shortest);
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return value(BIT_STRING, Buffer.of(unusedBits), bytes);
}

export function octetString(bytes: Uint8Array): Buffer {
  return value(OCTET_STRING, bytes);
}

export function boolean(is: boolean): Buffer {
  return value(BOOLEAN, Buffer.of(is ? 0xff : 0));
}

export function utf8String(text: string): Buffer {
  return value(UTF8_STRING, Buffer.from(text));
}

/** @param dotted as in `2.5.29.17` */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [40 * first + second, ...rest.flatMap(base128)];
  return value(OBJECT_IDENTIFIER, Buffer.from(bytes));
}

/** RFC 5280 4.1.2.5.1: until 2049. */
export function utcTime(ms: number): Buffer {
  const [date = "", time = ""] = new Date(ms).toISOString().split("T");
  return value(UTC_TIME, Buffer.from(`${date.slice(2)}${time.slice(0, 8)}Z`.replace(/[-:]/g, "")));
}

/** `[number] EXPLICIT` around the items. */
export function explicit(number: number, ...items: readonly Uint8Array[]): Buffer {
  return value(CONTEXT | CONSTRUCTED | number, ...items);
}

/** `[number] IMPLICIT` in place of a primitive type's own tag. */
export function implicit(number: number, content: Uint8Array): Buffer {
  return value(CONTEXT | number, content);
}

function base128(number: number): number[] {
  const bytes = [number & 0x7f];
  for (let left = number >> 7; left > 0; left >>= 7) bytes.unshift(0x80 | (left & 0x7f));
  return bytes;
}
