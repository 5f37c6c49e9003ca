import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";

export type Extension = readonly [type: number, body: Buffer];

/** With its length in `size` bytes before it. */
export function vector(size: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(size);
  length.writeUIntBE(body.length, 0, size);
  return Buffer.concat([length, body]);
}

export function number16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function serverName(name: string, type = 0): Extension {
  return [0, vector(2, Buffer.from([type]), vector(2, Buffer.from(name, "latin1")))];
}

export function alpn(...names: readonly string[]): Extension {
  return [16, vector(2, ...names.map((name) => vector(1, Buffer.from(name, "latin1"))))];
}

export interface HelloParts {
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  /** Null: the list is not there at all. */
  readonly extensions?: readonly Extension[] | null;
  /** What follows inside of the message. */
  readonly rest?: Buffer;
}

/** A ClientHello message, its handshake header with it. */
export function helloMessage(parts: HelloParts = {}): Buffer {
  const extensions = parts.extensions === undefined ? [serverName("a.test")] : parts.extensions;
  const body = Buffer.concat([
    number16(parts.version ?? 0x0303),
    Buffer.alloc(32, 7),
    vector(1, parts.sessionId ?? Buffer.alloc(32, 9)),
    vector(2, parts.suites ?? Buffer.from([0x13, 0x01])),
    vector(1, parts.compression ?? Buffer.from([0])),
    ...(extensions === null
      ? []
      : [vector(2, ...extensions.flatMap(([type, of]) => [number16(type), vector(2, of)]))]),
    parts.rest ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** Handshake records of at most `bytesMax` each. */
export function records(message: Buffer, bytesMax: number = 2 ** 14): Buffer {
  const all: Buffer[] = [];
  for (let at = 0; at < message.length; at += bytesMax)
    all.push(Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + bytesMax)));
  return Buffer.concat(all);
}

/** The handshake message that records of one type carry. */
export function unframed(bytes: Buffer): Buffer {
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3))
    all.push(bytes.subarray(at + 5, at + 5 + bytes.readUInt16BE(at + 3)));
  return Buffer.concat(all);
}

/** What Node's own TLS client sends first. */
export async function capturedHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ ...options, host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  client.on("error", () => {});
  const [accepted] = await once(server, "connection");
  const [hello] = await once(accepted, "data");
  client.destroy();
  accepted.destroy();
  server.close();
  return hello;
}
