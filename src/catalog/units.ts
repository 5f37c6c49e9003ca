import { z } from "zod";
import { measureDuration, measureSize } from "../config/units.ts";
import { CPUS_MILLI_MAX, CPUS_MILLI_MIN, DEFAULT_LIMITS, type Limits } from "../contract/profile.ts";

function measured(measure: typeof measureDuration, description: string): z.ZodType<number> {
  return z
    .string()
    .transform((text, context) => {
      const result = measure(text);
      if (result.ok) return result.value;
      const { message, remedy } = result.problem;
      context.addIssue({ code: "custom", message, params: { remedy } });
      return z.NEVER;
    })
    .meta({ description });
}

/** A duration with its unit, as milliseconds. */
function duration(description: string): z.ZodType<number> {
  return measured(measureDuration, `${description}, such as 30s`);
}

/** A size with its unit, as bytes. */
function size(description: string): z.ZodType<number> {
  return measured(measureSize, `${description}, such as 512MiB`);
}

/** A number of processors, as thousandths. */
function processors(description: string): z.ZodType<number> {
  return z
    .number()
    .min(CPUS_MILLI_MIN / 1000)
    .max(CPUS_MILLI_MAX / 1000)
    .transform((count) => Math.round(count * 1000))
    .meta({ description: `${description}, such as 0.5` });
}

/** `limits` of a manifest. */
export interface LimitsFile {
  readonly wall?: number;
  readonly cpu?: number;
  readonly cpus?: number;
  readonly memory?: number;
  readonly processes?: number;
  readonly openFiles?: number;
  readonly fileSize?: number;
  readonly output?: number;
  readonly input?: number;
  readonly scratch?: number;
}

export const limitsSchema: z.ZodType<LimitsFile> = z.strictObject({
  wall: z.exactOptional(duration("time until it is killed")),
  cpu: z.exactOptional(duration("processor time of all its processes")),
  cpus: z.exactOptional(processors("processors that all its processes may use at a time")),
  memory: z.exactOptional(size("memory of all its processes")),
  processes: z.exactOptional(
    z.int().min(1).max(65_536).meta({ description: "processes and threads at once" }),
  ),
  openFiles: z.exactOptional(
    z.int().min(8).max(1_048_576).meta({ description: "open files of one process" }),
  ),
  fileSize: z.exactOptional(size("the largest file it may write")),
  output: z.exactOptional(size("standard output and error together")),
  input: z.exactOptional(size("the JSON input, and separately standard input")),
  scratch: z.exactOptional(size("each of /tmp, /dev/shm and $HOME")),
});

/** The limits a manifest asks for over the defaults, in the contract's units. */
export function fillLimits(file: LimitsFile): Limits {
  return {
    wallMs: file.wall ?? DEFAULT_LIMITS.wallMs,
    cpuMs: file.cpu ?? DEFAULT_LIMITS.cpuMs,
    cpusMilli: file.cpus ?? DEFAULT_LIMITS.cpusMilli,
    memoryBytes: file.memory ?? DEFAULT_LIMITS.memoryBytes,
    processes: file.processes ?? DEFAULT_LIMITS.processes,
    openFiles: file.openFiles ?? DEFAULT_LIMITS.openFiles,
    fileSizeBytes: file.fileSize ?? DEFAULT_LIMITS.fileSizeBytes,
    outputBytes: file.output ?? DEFAULT_LIMITS.outputBytes,
    inputBytes: file.input ?? DEFAULT_LIMITS.inputBytes,
    scratchBytes: file.scratch ?? DEFAULT_LIMITS.scratchBytes,
  };
}
