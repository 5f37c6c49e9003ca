import { createHash } from "node:crypto";

/** What Java opens its own trust store with where nothing else is said. It guards nothing: the file holds no secret. */
export const JAVA_PASSWORD = "changeit";

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const TRUSTED_CERTIFICATE = 2;

/** A trust store in Java's own format (JKS), which all its versions read. @param certificates DER */
export function javaKeystore(certificates: readonly Uint8Array[], madeMs: number): Buffer {
  const data = Buffer.concat([
    numbers(MAGIC, VERSION, certificates.length),
    ...certificates.flatMap((certificate, at) => entry(`callgate-${at}`, certificate, madeMs)),
  ]);
  const password = Buffer.from(JAVA_PASSWORD, "utf16le").swap16();
  const digest = createHash("sha1").update(password).update("Mighty Aphrodite").update(data).digest();
  return Buffer.concat([data, digest]);
}

function entry(alias: string, certificate: Uint8Array, madeMs: number): Buffer[] {
  const date = Buffer.alloc(8);
  date.writeBigUInt64BE(BigInt(madeMs));
  return [
    numbers(TRUSTED_CERTIFICATE),
    text(alias),
    date,
    text("X.509"),
    numbers(certificate.length),
    Buffer.from(certificate),
  ];
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [at, number] of values.entries()) bytes.writeUInt32BE(number, 4 * at);
  return bytes;
}

/** As `DataOutput.writeUTF` writes ASCII. */
function text(ascii: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(ascii.length);
  return Buffer.concat([length, Buffer.from(ascii, "latin1")]);
}
