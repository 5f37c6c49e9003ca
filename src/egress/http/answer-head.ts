import type { IncomingMessage } from "node:http";
import type { Visit } from "../visit.ts";
import { masked } from "./mask-stream.ts";
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

/** Headers of an answer as they are passed on: name, value, name, value. @throws UpstreamFailure */
export function answerHeaders(visit: Visit, answer: IncomingMessage): string[] {
  const masks = visit.credential?.masksResponses === true;
  const coding = answer.headers["content-encoding"];
  if (masks && coding !== undefined && coding.toLowerCase() !== "identity")
    throw new UpstreamFailure("its answer is encoded, and could not be searched for the secret");
  const own = (answer.headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ...own, ...(masks ? ["content-length"] : [])]);
  return maskedPairs(visit, answer.rawHeaders, dropped);
}

/** Trailers, but for what belongs into a head alone (RFC 9110 6.5.1). */
export function answerTrailers(visit: Visit, answer: IncomingMessage): [string, string][] {
  const flat = maskedPairs(
    visit,
    answer.rawTrailers,
    new Set([...HOP_BY_HOP, "content-length", "content-encoding"]),
  );
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at] ?? "", flat[2 * at + 1] ?? ""]);
}

export function secretsOf({ credential }: Visit): readonly string[] {
  return credential?.masksResponses === true ? credential.secrets : [];
}

function maskedPairs(visit: Visit, raw: readonly string[], dropped: ReadonlySet<string>): string[] {
  const secrets = secretsOf(visit);
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = raw.slice(at, at + 2);
    if (!dropped.has(name.toLowerCase())) kept.push(masked(name, secrets), masked(value, secrets));
  }
  return kept;
}
