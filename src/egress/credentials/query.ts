/** RFC 3986 2.3. */
const UNRESERVED = /[A-Za-z0-9._~-]/;

/** One `name=value` of a query, as it was sent and as it reads. */
interface QueryPair {
  readonly sent: string;
  /** Decoded, one character for each byte. */
  readonly name: string;
  /** Null where no `=` was sent. */
  readonly value: string | null;
}

/** What `%` and two digits stand for; whatever else stays. One character for each byte. */
export function percentDecode(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_whole, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** @param bytes one character for each */
export function percentEncode(bytes: string): string {
  return Array.from(bytes, (character) =>
    UNRESERVED.test(character)
      ? character
      : `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}

/** Path and pairs of a target. In a query a plus is a space, as forms are sent. */
export function splitTarget(target: string): { readonly path: string; readonly pairs: QueryPair[] } {
  const mark = target.indexOf("?");
  if (mark < 0) return { path: target, pairs: [] };
  const pairs = target
    .slice(mark + 1)
    .split("&")
    .filter((sent) => sent !== "")
    .map((sent) => {
      const equals = sent.indexOf("=");
      const read = (part: string): string => percentDecode(part.replaceAll("+", " "));
      return equals < 0
        ? { sent, name: read(sent), value: null }
        : { sent, name: read(sent.slice(0, equals)), value: read(sent.slice(equals + 1)) };
    });
  return { path: target.slice(0, mark), pairs };
}

export function newPair(name: string, value: string | null): QueryPair {
  const sent = value === null ? percentEncode(name) : `${percentEncode(name)}=${percentEncode(value)}`;
  return { sent, name, value };
}

export function joinTarget(path: string, pairs: readonly QueryPair[]): string {
  return pairs.length === 0 ? path : `${path}?${pairs.map(({ sent }) => sent).join("&")}`;
}
