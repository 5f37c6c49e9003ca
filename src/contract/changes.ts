import type { Digest } from "./ids.ts";

/** One thing that a tool with staged writes did to its private copy. */
export interface Change {
  /** Absolute path on the host. */
  readonly path: string;
  readonly change: "added" | "changed" | "deleted";
  /** What is there now; of something deleted, what was. */
  readonly kind: "file" | "folder" | "link";
  /** Permission bits of a file or folder that is there now. */
  readonly mode?: number;
  /** Size and SHA-256 of a file that is there now. */
  readonly bytes?: number;
  readonly digest?: Digest;
  /** Of a link that is there now. */
  readonly target?: string;
}

/**
 * What became of a tool's changes. `applied`: all of them are in the tree. Otherwise none is: `discarded`, the tool did
 * not succeed; `refused`, one of them may not be made; `conflict`, the tree changed meanwhile; `failed`, the file
 * system did not let them be made.
 */
export interface Changes {
  readonly state: "applied" | "discarded" | "refused" | "conflict" | "failed";
  /** Why they were not applied; names the path. */
  readonly reason: string | null;
  readonly count: number;
  /** Of all files added or changed. */
  readonly bytes: number;
  /** SHA-256 over the RFC 8785 form of `paths`, before it was shortened for a record. */
  readonly digest: Digest;
  readonly paths: readonly Change[];
}
