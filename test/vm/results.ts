/** One test that ran inside. */
export interface InnerTest {
  readonly job: string;
  readonly name: string;
  readonly ok: boolean;
  /** By the VM's clock. */
  readonly ms: number;
  /** Why it was left out, where it was. */
  readonly skipped?: string;
  readonly error?: string;
}

export interface Results {
  readonly tests: readonly InnerTest[];
  /** Exit status of each job that ended, and the seconds it took by the VM's clock. */
  readonly jobs: ReadonlyMap<string, { readonly status: number; readonly seconds: number }>;
  /** How many results were sent: as many have to be in `tests`. */
  readonly told: number;
  /** Lines that are no result: what was written to the port by others, or lost on the way. */
  readonly unread: readonly string[];
  /** Whether the VM came to the end of its list. */
  readonly finished: boolean;
}

type Line =
  | { readonly job: string; readonly begins: number }
  | { readonly job: string; readonly status: number; readonly ends: number }
  | { readonly told: number }
  | { readonly done: true }
  | {
      readonly test: readonly string[];
      readonly ok: boolean;
      readonly ms: number;
      readonly skip?: string | boolean;
      readonly error?: string;
    };

/** What the VM wrote to its second serial port. A line that is cut short is the VM's end, and not a result. */
export function parseResults(text: string): Results {
  const tests: InnerTest[] = [];
  const jobs = new Map<string, { status: number; seconds: number }>();
  const unread: string[] = [];
  let [job, begins, told, finished] = ["", 0, 0, false];
  for (const raw of text.split(/[\r\n]+/).filter((one) => one !== "")) {
    const line = parseLine(raw);
    if (line === undefined) unread.push(raw);
    else if ("done" in line) finished = true;
    else if ("told" in line) told += line.told;
    else if ("begins" in line) [job, begins] = [line.job, line.begins];
    else if ("status" in line) jobs.set(line.job, { status: line.status, seconds: line.ends - begins });
    else {
      const { ok, ms, skip, error } = line;
      tests.push({
        job,
        name: line.test.join(": "),
        ok,
        ms,
        ...(skip === undefined || skip === false
          ? {}
          : { skipped: skip === true ? "no reason given" : skip }),
        ...(error === undefined ? {} : { error }),
      });
    }
  }
  return { tests, jobs, told, unread, finished };
}

function parseLine(line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line;
  } catch {
    return undefined;
  }
}
