/** Readings of one path; more are refused rather than judged. Real paths have at most a handful. */
export const READINGS_MAX = 64;

/** What an origin may take a path for; or why nobody can tell. */
export type Readings = readonly string[] | { readonly refused: string };

interface Text {
  readonly path: string;
  readonly decoded: boolean;
}

/** What servers, frameworks and those between them do to a path, in whatever order. Each is done to the whole of it. */
const STEPS: readonly ((text: Text) => Text)[] = [
  // `\` is a separator to browsers and on Windows.
  ({ path, decoded }) => ({ path: path.replaceAll("\\", "/"), decoded }),
  // `;` and what follows it in a segment is no part of its name to some (RFC 3986 3.3).
  ({ path, decoded }) => ({ path: path.replace(/;[^/]*/g, ""), decoded }),
  ({ path, decoded }) => ({ path: path.replace(/\/{2,}/g, "/"), decoded }),
  ({ path, decoded }) => ({ path: withoutDots(path), decoded }),
  // Joined to an address, `//host/path` is another host's path (RFC 3986 4.2); the path is what is left.
  ({ path, decoded }) => ({ path: path.replace(/^\/\/[^/]*/, "") || "/", decoded }),
  // Windows leaves blanks and dots at the end of a name out.
  ({ path, decoded }) => ({ path: decoded ? path.split("/").map(withoutTail).join("/") : path, decoded }),
  // An encoded dot is one before anything else is decoded (RFC 3986 6.2.2.2), as for browsers.
  ({ path, decoded }) => ({ path: decoded ? path : path.replace(/%2e/gi, "."), decoded }),
  // Before it is split: an encoded separator is one.
  (text) => (text.decoded ? text : { path: decodeURIComponent(text.path), decoded: true }),
  // After it is split: an encoded separator is data.
  (text) => (text.decoded ? text : { path: decodeURIComponent(keepEncoded(text.path)), decoded: true }),
];

const HEX_PAIR = /^[0-9a-f]{2}$/i;
/** Nothing to decode, to cut, to collapse or to remove. */
const PLAIN = /^\/(?:[^%;\\./][^%;\\/]*(?:\/[^%;\\./][^%;\\/]*)*\/?)?$/;

/**
 * Every path that an origin may plausibly understand a request's target as: percent-decoded once, and with each of
 * `STEPS` done or not, in any order. A request may pass only where all of them may.
 * @param target in origin-form (RFC 9112 3.2.1); its query says nothing about the path
 */
export function readings(target: string): Readings {
  const raw = target.split("?", 1)[0] ?? "";
  const refused = target.includes("#") ? "the target has a fragment" : whyUnreadable(raw);
  if (refused !== undefined) return { refused };
  if (PLAIN.test(raw) && !/\.(?:\/|$)/.test(raw)) return [raw];
  const seen = new Set<string>();
  const found = new Set<string>();
  const left: Text[] = [{ path: raw, decoded: false }];
  for (let text = left.pop(); text !== undefined; text = left.pop()) {
    const key = `${text.decoded}${text.path}`;
    if (seen.has(key)) continue;
    if (seen.add(key).size > READINGS_MAX)
      return { refused: `the path can be read in more than ${READINGS_MAX} ways` };
    if (text.decoded) found.add(text.path);
    for (const step of STEPS) left.push(step(text));
  }
  return [...found];
}

function whyUnreadable(raw: string): string | undefined {
  if (!raw.startsWith("/")) return "the target is not a path";
  if (/[^\x21-\x7e]/.test(raw)) return "the path holds a character that has to be encoded";
  for (const { index } of raw.matchAll(/%/g)) {
    const pair = raw.slice(index + 1, index + 3);
    if (!HEX_PAIR.test(pair)) return "the path holds a `%` that encodes nothing";
    const byte = Number.parseInt(pair, 16);
    if (byte < 0x20 || byte === 0x7f) return "the path holds an encoded control character";
    // Whoever decodes twice would read another path.
    if (byte === 0x25 && isEncodedTwice(raw.slice(index + 3))) return "the path is encoded twice";
  }
  try {
    // Overlong forms of `.` and `/` are no UTF-8 (RFC 3629 10), and some take them for it.
    decodeURIComponent(raw);
  } catch {
    return "the path is not UTF-8";
  }
  return undefined;
}

/** @param rest what follows `%25`: two hexadecimal digits, which may be encoded themselves. */
function isEncodedTwice(rest: string): boolean {
  const decoded = rest
    .slice(0, 6)
    .replace(/%([0-9a-f]{2})/gi, (_, pair: string) => String.fromCharCode(Number.parseInt(pair, 16)));
  return HEX_PAIR.test(decoded.slice(0, 2));
}

/** Encodes encoded separators once more, so that decoding leaves them encoded. */
function keepEncoded(path: string): string {
  return path.replace(/%(?=2f|5c)/gi, "%25");
}

function withoutTail(segment: string): string {
  const trimmed = segment.replace(/ +$/, "");
  return /^\.*$/.test(trimmed) ? trimmed : trimmed.replace(/[. ]+$/, "");
}

/** RFC 3986 5.2.4. */
function withoutDots(path: string): string {
  const [, ...segments] = path.split("/");
  const kept: string[] = [];
  for (const [at, segment] of segments.entries()) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
    // `/a/b/..` is `/a/`, with its slash.
    if (at === segments.length - 1 && (segment === "." || segment === "..")) kept.push("");
  }
  return `/${kept.join("/")}`;
}
