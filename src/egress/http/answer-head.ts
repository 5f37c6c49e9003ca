import type { IncomingMessage } from "node:http";
import { Masker } from "../../contract/mask.ts";
import type { Visit } from "../visit.ts";
import { UpstreamFailure } from "./upstream.ts";

/** RFC 9110 7.6.1. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "te",
  "transfer-encoding",
  "upgrade",
  // An announcement that Node refuses where no trailers can follow: those that come are passed on without it.
  "trailer",
  // Would lead the tool to another address or protocol, where nobody answers it (RFC 7838).
  "alt-svc",
]);

/**
 * What an answer has masked: the secrets of every credential of the sandbox that asks for it, for a host may have been
 * told one by way of another. Unset: nothing.
 */
export function maskerOf({ credential, credentials }: Visit): Masker | undefined {
  const all = new Set([...credentials, ...(credential === undefined ? [] : [credential])]);
  const asking = [...all].filter(({ masksResponses }) => masksResponses);
  return asking.length === 0 ? undefined : new Masker(asking.flatMap(({ secrets }) => secrets));
}

/** Headers of an answer as they are passed on: name, value, name, value. @throws UpstreamFailure */
export function answerHeaders(answer: IncomingMessage, masker: Masker | undefined): string[] {
  const masks = masker !== undefined;
  const transfer = answer.headers["transfer-encoding"];
  // Its own coding would be lost with the header, and what it hides could not be searched.
  if (transfer !== undefined && transfer.toLowerCase() !== "chunked")
    throw new UpstreamFailure("its answer has a transfer coding beside `chunked`");
  if (
    masks &&
    (answer.statusCode === 206 || /^multipart\/byteranges/i.test(answer.headers["content-type"] ?? ""))
  )
    throw new UpstreamFailure("its answer is a part, and could not be searched for the secret");
  const coding = answer.headers["content-encoding"];
  if (masks && coding !== undefined && coding.toLowerCase() !== "identity")
    throw new UpstreamFailure("its answer is encoded, and could not be searched for the secret");
  const own = (answer.headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ...own, ...(masks ? ["content-length"] : [])]);
  return maskedPairs(masker, answer.rawHeaders, dropped);
}

/** Trailers, but for what belongs into a head alone (RFC 9110 6.5.1). */
export function answerTrailers(answer: IncomingMessage, masker: Masker | undefined): [string, string][] {
  const flat = maskedPairs(
    masker,
    answer.rawTrailers,
    new Set([...HOP_BY_HOP, "content-length", "content-encoding"]),
  );
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at] ?? "", flat[2 * at + 1] ?? ""]);
}

function maskedPairs(
  masker: Masker | undefined,
  raw: readonly string[],
  dropped: ReadonlySet<string>,
): string[] {
  const kept: string[] = [];
  const masked = (text: string): string => masker?.text(text) ?? text;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = raw.slice(at, at + 2);
    if (!dropped.has(name.toLowerCase())) kept.push(masked(name), masked(value));
  }
  return kept;
}
