import { createHash } from "node:crypto";
import { number16, records, vector } from "./client-hello.fixture.ts";

/** RFC 8446 4.1.3. */
export const RETRY: Buffer = createHash("sha256").update("HelloRetryRequest").digest();

/** A ServerHello with that random, in records of at most `bytesMax`. */
export function serverHello(random: Buffer, bytesMax?: number): Buffer {
  const body = [number16(0x0303), random, vector(1, Buffer.alloc(32, 9)), number16(0x1301), Buffer.of(0)];
  return records(Buffer.concat([Buffer.of(2), vector(3, ...body, vector(2))]), bytesMax);
}
