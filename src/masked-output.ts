import type { AuditLog } from "./audit/log.ts";
import type { ReleaseOptions } from "./sandbox/driver.ts";

/** What a caller is given of a tool's output as it arrives: secrets are masked there too, across the pieces. */
export function maskedOutput(
  log: Pick<AuditLog, "streamMasker">,
  { onOutput }: ReleaseOptions,
): Pick<ReleaseOptions, "onOutput"> & { readonly end: () => void } {
  if (onOutput === undefined) return { end: () => {} };
  const maskers = { stdout: log.streamMasker(), stderr: log.streamMasker() };
  const pass = (stream: "stdout" | "stderr", chunk: Uint8Array): void => {
    if (chunk.length > 0) onOutput(stream, chunk);
  };
  return {
    onOutput: (stream, chunk) => pass(stream, maskers[stream].push(chunk)),
    end: () => {
      for (const stream of ["stdout", "stderr"] as const) pass(stream, maskers[stream].end());
    },
  };
}
