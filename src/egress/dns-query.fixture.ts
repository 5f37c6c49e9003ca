/** Messages as a client makes and reads them, written apart from what is tested with them. */

export interface QueryParts {
  readonly id?: number;
  readonly flags?: number;
  readonly name?: string;
  /** In place of the name: labels of any bytes, as Latin-1. */
  readonly labels?: readonly string[];
  readonly type?: number;
  readonly class?: number;
  /** `data`: options, in hexadecimal. */
  readonly edns?: { readonly version: number; readonly flags: number; readonly data: string };
}

export function encodeQuery(parts: QueryParts): Uint8Array {
  const { id = 1, flags = 0x0100, name = "", type = 1, edns } = parts;
  const labels = parts.labels ?? name.split(".").filter((label) => label !== "");
  const body = [
    ...words(id, flags, 1, 0, 0, edns === undefined ? 0 : 1),
    ...labels.flatMap((label) => [label.length, ...Buffer.from(label, "latin1")]),
    ...[0, ...words(type, parts.class ?? 1)],
  ];
  if (edns !== undefined) {
    const data = Buffer.from(edns.data, "hex");
    body.push(0, ...words(41, 4096), 0, edns.version, ...words(edns.flags, data.length), ...data);
  }
  return Uint8Array.from(body);
}

function words(...values: readonly number[]): number[] {
  return values.flatMap((value) => [value >> 8, value & 0xff]);
}

export interface Reply {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
  readonly answers: readonly { readonly type: number; readonly ttl: number; readonly data: string }[];
  readonly edns:
    | { readonly size: number; readonly extended: number; readonly version: number; readonly flags: number }
    | undefined;
}

/** @throws where a byte is missing or left over. */
export function readReply(reply: Uint8Array): Reply {
  const bytes = Buffer.from(reply);
  const [id = 0, flags = 0, questions = 0, count = 0, , additional = 0] = [0, 2, 4, 6, 8, 10].map((at) =>
    bytes.readUInt16BE(at),
  );
  let at = 12;
  if (questions === 1) {
    while (bytes.readUInt8(at) !== 0) at += 1 + bytes.readUInt8(at);
    at += 5;
  }
  const answers = Array.from({ length: count }, () => {
    if (bytes.readUInt16BE(at) !== 0xc00c) throw new Error("an answer is not about the question");
    const length = bytes.readUInt16BE(at + 10);
    const data = bytes.subarray(at + 12, at + 12 + length).toString("hex");
    const answer = { type: bytes.readUInt16BE(at + 2), ttl: bytes.readUInt32BE(at + 6), data };
    at += 12 + length;
    return answer;
  });
  let edns: Reply["edns"];
  if (additional === 1) {
    if (bytes.readUInt16BE(at + 1) !== 41) throw new Error("no OPT record");
    edns = {
      size: bytes.readUInt16BE(at + 3),
      extended: bytes.readUInt8(at + 5),
      version: bytes.readUInt8(at + 6),
      flags: bytes.readUInt16BE(at + 7),
    };
    at += 11 + bytes.readUInt16BE(at + 9);
  }
  if (at !== bytes.length) throw new Error("bytes are left over");
  return { id, flags, rcode: flags & 0xf, answers, edns };
}
