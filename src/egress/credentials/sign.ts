import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { Refusal } from "../visit.ts";
import type { OutgoingRequest } from "./credential.ts";
import type { CredentialKind } from "./kinds.ts";
import { joinTarget, newPair, percentDecode, percentEncode, splitTarget } from "./query.ts";

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

type SigningKind = Extract<CredentialKind, { kind: "sigv4" }>;

/** What says who asks, in headers and in the query of a presigned request: none of it is the tool's to say. */
const AUTH_HEADERS: ReadonlySet<string> = new Set([
  "authorization",
  "date",
  "x-amz-content-sha256",
  "x-amz-date",
  "x-amz-region-set",
  "x-amz-security-token",
]);
const AUTH_PARAMETERS: ReadonlySet<string> = new Set([
  "x-amz-algorithm",
  "x-amz-credential",
  "x-amz-date",
  "x-amz-expires",
  "x-amz-region-set",
  "x-amz-security-token",
  "x-amz-signature",
  "x-amz-signedheaders",
]);

/** SHA-256, or HMAC of it, as the signer wants it. */
class Sha256 {
  #state: Hash | Hmac;
  readonly #secret: string | Uint8Array | undefined;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret === undefined ? undefined : octets(secret);
    this.#state = this.#start();
  }

  update(chunk: string | ArrayBuffer | ArrayBufferView): void {
    this.#state.update(octets(chunk));
  }

  async digest(): Promise<Uint8Array> {
    return this.#state.digest();
  }

  reset(): void {
    this.#state = this.#start();
  }

  #start(): Hash | Hmac {
    return this.#secret === undefined ? createHash("sha256") : createHmac("sha256", this.#secret);
  }
}

function octets(data: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof data === "string") return data;
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/** S3 signs paths as they are, and wants the body's hash in a header; no other service does either. */
function isS3(service: string): boolean {
  return service === "s3" || service.startsWith("s3-");
}

function checkSignable({ headers }: OutgoingRequest): void {
  const isChunked = headers.some(
    ([name, value]) =>
      (name === "x-amz-content-sha256" && /^STREAMING-/i.test(value)) ||
      (name === "content-encoding" && /\baws-chunked\b/i.test(value)),
  );
  if (isChunked) throw new Refusal("a body that is signed in chunks cannot be signed again");
}

/** Takes away what the tool signed with, and writes the query in the one form that is signed. */
function stripped(request: OutgoingRequest): void {
  request.headers = request.headers.filter(([name]) => !AUTH_HEADERS.has(name));
  const { path, pairs } = splitTarget(request.target);
  const kept = pairs.filter(({ name }) => !AUTH_PARAMETERS.has(name.toLowerCase()));
  request.target = joinTarget(
    path,
    kept.map(({ name, value }) => newPair(name, value)),
  );
}

/** Of the headers only those that nobody on the way may change: host, type, and the service's own. */
function signedHeaders({ headers, host }: OutgoingRequest): Record<string, string> {
  const signed = new Map([["host", host]]);
  for (const [name, value] of headers) {
    if (name !== "content-type" && !name.startsWith("x-amz-")) continue;
    const before = signed.get(name);
    signed.set(name, before === undefined ? value : `${before},${value}`);
  }
  return Object.fromEntries(signed);
}

function signedQuery(target: string): Record<string, string[]> {
  const values = new Map<string, string[]>();
  const text = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");
  for (const { name, value } of splitTarget(target).pairs) {
    const held = values.get(text(name)) ?? [];
    held.push(text(value ?? ""));
    values.set(text(name), held);
  }
  return Object.fromEntries(values);
}

/**
 * Signs by AWS Signature Version 4, with the body.
 * @throws Refusal
 */
export async function signRequest(
  request: OutgoingRequest,
  body: Uint8Array,
  { region, service }: SigningKind,
  keys: AwsKeys,
  nowMs: number,
): Promise<void> {
  checkSignable(request);
  stripped(request);
  const { path } = splitTarget(request.target);
  const { SignatureV4 } = await import("@smithy/signature-v4");
  const signer = new SignatureV4({
    credentials: { ...keys },
    region,
    service,
    sha256: Sha256,
    uriEscapePath: !isS3(service),
    applyChecksum: isS3(service),
  });
  const signed = await signer.sign(
    {
      method: request.method,
      protocol: "https:",
      hostname: request.host,
      path: isS3(service) ? path.split("/").map(percentDecode).map(percentEncode).join("/") : path,
      query: signedQuery(request.target),
      headers: signedHeaders(request),
      body,
    },
    { signingDate: new Date(nowMs) },
  );
  for (const [name, value] of Object.entries(signed.headers))
    if (AUTH_HEADERS.has(name.toLowerCase())) request.headers.push([name.toLowerCase(), value]);
}
