/** Times of one thing, in milliseconds. */
export interface Row {
  readonly name: string;
  readonly samples: readonly number[];
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Prints rows with median, p95, and the spread from the least to the most. */
export function printTable(title: string, rows: readonly Row[]): void {
  const width = Math.max(...rows.map(({ name }) => name.length));
  console.log(`\n${title}\n${"".padEnd(width)}      n    median       p95       min       max   (ms)`);
  for (const { name, samples } of rows) {
    const figures = [
      percentile(samples, 0.5),
      percentile(samples, 0.95),
      Math.min(...samples),
      Math.max(...samples),
    ];
    const shown = figures.map((figure) => figure.toFixed(3).padStart(9)).join(" ");
    console.log(`${name.padEnd(width)}  ${String(samples.length).padStart(5)} ${shown}`);
  }
}

/** Runs things in turn, A B C A B C …, so that a drift of the machine's speed falls on all of them alike. */
export async function inTurn(
  things: Readonly<Record<string, () => Promise<unknown>>>,
  rounds: number,
  /** Before each sample, outside of it. */
  settle: () => Promise<void> = async () => {},
): Promise<readonly Row[]> {
  const samples = new Map(Object.keys(things).map((name) => [name, [] as number[]]));
  for (let round = -3; round < rounds; round += 1) {
    for (const [name, thing] of Object.entries(things)) {
      await settle();
      const started = performance.now();
      await thing();
      // The first rounds warm up and are not counted.
      if (round >= 0) samples.get(name)?.push(performance.now() - started);
    }
  }
  return [...samples].map(([name, values]) => ({ name, samples: values }));
}
