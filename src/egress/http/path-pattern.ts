/**
 * Whether a path fits a pattern: `*` is any run of characters but `/`, a last `/**` is everything below.
 * Linear in the path for each `*`: nothing is tried twice.
 */
export function fitsPath(path: string, pattern: string): boolean {
  const below = pattern.endsWith("/**");
  const wanted = (below ? pattern.slice(0, -3) : pattern).split("/");
  const given = path.split("/");
  // Everything below, and so not the folder's own path: that one has no slash at its end.
  if (below ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, at) => fitsSegment(given[at] ?? "", segment));
}

/** Greedy from the left: the pieces between stars have to stand in order, the first and the last at the ends. */
function fitsSegment(given: string, pattern: string): boolean {
  const pieces = pattern.split("*");
  const first = pieces.shift() ?? "";
  const last = pieces.pop();
  if (last === undefined) return given === first;
  const end = given.length - last.length;
  if (end < first.length || !given.startsWith(first) || !given.endsWith(last)) return false;
  let at = first.length;
  for (const piece of pieces) {
    const found = given.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
