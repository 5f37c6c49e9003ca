import type { OutgoingRequest } from "./credential.ts";
import { joinTarget, newPair, splitTarget } from "./query.ts";

/** RFC 9110 11.1: a scheme is read without regard to case. */
const BASIC = /^(basic +)([A-Za-z0-9+/=_-]+) *$/i;

/** The text's UTF-8, one character for each byte. */
export function octetsOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** A header's value with the secret where its placeholder stood, also inside of Basic (RFC 7617). */
function swapHeader(value: string, placeholder: string, secret: string): string {
  const [, scheme = "", encoded] = BASIC.exec(value) ?? [];
  if (encoded !== undefined) {
    const decoded = Buffer.from(encoded, "base64").toString("latin1");
    if (decoded.includes(placeholder)) {
      const swapped = decoded.replaceAll(placeholder, () => octetsOf(secret));
      return `${scheme}${Buffer.from(swapped, "latin1").toString("base64")}`;
    }
  }
  return value.replaceAll(placeholder, () => secret);
}

/** The target with the secret where its placeholder stood in a value of the query. */
function swapQuery(target: string, placeholder: string, secret: string): string {
  const { path, pairs } = splitTarget(target);
  if (!pairs.some(({ value }) => value?.includes(placeholder))) return target;
  const swapped = pairs.map((pair) =>
    pair.value?.includes(placeholder)
      ? newPair(
          pair.name,
          pair.value.replaceAll(placeholder, () => octetsOf(secret)),
        )
      : pair,
  );
  return joinTarget(path, swapped);
}

/**
 * Puts the secret where its placeholder stands.
 * @param where headers that may hold it, and whether values of the query may; unset: any
 * @returns places of the headers in which the secret now stands
 */
export function swapAll(
  request: OutgoingRequest,
  placeholder: string,
  secret: string,
  where?: { readonly headers: readonly string[]; readonly query: boolean },
): ReadonlySet<number> {
  const places = new Set<number>();
  for (const [at, [name, value]] of request.headers.entries()) {
    if (where?.headers.includes(name.toLowerCase()) === false) continue;
    const swapped = swapHeader(value, placeholder, secret);
    if (swapped === value) continue;
    request.headers[at] = [name, swapped];
    places.add(at);
  }
  if (where?.query !== false) request.target = swapQuery(request.target, placeholder, secret);
  return places;
}
