const CONTEXT_LINES = 3;
/** Beyond this many changed lines the whole text is shown as replaced, so that time and memory stay bounded. */
const EDITS_MAX = 1000;

/** One line of an edit script: kept, removed or added. */
interface Edit {
  readonly kind: " " | "-" | "+";
  readonly line: string;
}

/**
 * Writes out every character that a reader would not see or that would move the others: control and format
 * characters, bidirectional marks, private use, line separators. A tab stays.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
    character === "\t" ? character : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

function replaceAll(before: readonly string[], after: readonly string[]): Edit[] {
  return [
    ...before.map((line): Edit => ({ kind: "-", line })),
    ...after.map((line): Edit => ({ kind: "+", line })),
  ];
}

/** Walks Myers' furthest-reaching paths back from the end to the start. */
function backtrack(
  trace: readonly Map<number, number>[],
  before: readonly string[],
  after: readonly string[],
): Edit[] {
  const edits: Edit[] = [];
  let x = before.length;
  let y = after.length;
  for (let depth = trace.length - 1; depth >= 0; depth -= 1) {
    const reached = trace[depth] ?? new Map<number, number>();
    const diagonal = x - y;
    const isDown =
      diagonal === -depth ||
      (diagonal !== depth && (reached.get(diagonal - 1) ?? -1) < (reached.get(diagonal + 1) ?? -1));
    const previous = isDown ? diagonal + 1 : diagonal - 1;
    const fromX = depth === 0 ? 0 : (reached.get(previous) ?? 0);
    const fromY = depth === 0 ? 0 : fromX - previous;
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      edits.push({ kind: " ", line: before[x] ?? "" });
    }
    if (depth === 0) break;
    if (isDown) edits.push({ kind: "+", line: after[fromY] ?? "" });
    else edits.push({ kind: "-", line: before[fromX] ?? "" });
    x = fromX;
    y = fromY;
  }
  return edits.reverse();
}

/** Myers, "An O(ND) Difference Algorithm" (1986), section 4. */
function shortestEdits(before: readonly string[], after: readonly string[]): Edit[] {
  const trace: Map<number, number>[] = [];
  const furthest = new Map<number, number>([[1, 0]]);
  for (let depth = 0; depth <= Math.min(before.length + after.length, EDITS_MAX); depth += 1) {
    trace.push(new Map(furthest));
    for (let diagonal = -depth; diagonal <= depth; diagonal += 2) {
      const above = furthest.get(diagonal + 1) ?? -1;
      const left = furthest.get(diagonal - 1) ?? -1;
      let x = diagonal === -depth || (diagonal !== depth && left < above) ? above : left + 1;
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x += 1;
      furthest.set(diagonal, x);
      if (x >= before.length && x - diagonal >= after.length) return backtrack(trace, before, after);
    }
  }
  return replaceAll(before, after);
}

/** Numbered lines of a hunk from `start` to `end`, with its header. */
function hunk(edits: readonly Edit[], start: number, end: number): string[] {
  const count = (from: number, to: number, kind: "-" | "+"): number =>
    edits.slice(from, to).filter((edit) => edit.kind === " " || edit.kind === kind).length;
  const range = (kind: "-" | "+"): string => {
    const length = count(start, end, kind);
    const first = count(0, start, kind) + (length === 0 ? 0 : 1);
    return `${kind}${first},${length}`;
  };
  return [
    `@@ ${range("-")} ${range("+")} @@`,
    ...edits.slice(start, end).map(({ kind, line }) => kind + visible(line)),
  ];
}

function hunks(edits: readonly Edit[]): string[] {
  const lines: string[] = [];
  let index = edits.findIndex((edit) => edit.kind !== " ");
  while (index >= 0 && index < edits.length) {
    const start = Math.max(0, index - CONTEXT_LINES);
    let last = index;
    for (let next = index; next < edits.length && next - last <= 2 * CONTEXT_LINES; next += 1) {
      if (edits[next]?.kind !== " ") last = next;
    }
    lines.push(...hunk(edits, start, Math.min(edits.length, last + CONTEXT_LINES + 1)));
    const following = edits.slice(last + 1).findIndex((edit) => edit.kind !== " ");
    index = following < 0 ? -1 : last + 1 + following;
  }
  return lines;
}

function linesOf(text: string | undefined): string[] {
  if (text === undefined || text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  else lines.push("\\ no line break at the end");
  return lines;
}

/**
 * A unified diff of two texts for people to read: characters they would not see are written out, so it is not for
 * `patch`. Undefined stands for a file that is not there. Empty when nothing changed.
 */
export function unifiedDiff(path: string, before: string | undefined, after: string | undefined): string {
  if (before === after) return "";
  const name = (text: string | undefined, side: string): string =>
    text === undefined ? "/dev/null" : visible(`${side}/${path}`);
  const body = hunks(shortestEdits(linesOf(before), linesOf(after)));
  return [`--- ${name(before, "a")}`, `+++ ${name(after, "b")}`, ...body, ""].join("\n");
}
