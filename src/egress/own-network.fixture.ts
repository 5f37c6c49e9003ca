import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** A program of the tests' own, and the network that it runs in. */
export interface Alone {
  /** Of unshare(1). */
  readonly namespaces: string;
  /** For sh, once `lo` is up; `$1` and so on are `given`. */
  readonly setUp: string;
  readonly given?: readonly string[];
  readonly program: URL;
  readonly words: readonly string[];
}

/** Runs it in namespaces of its own. @returns its lines; undefined where this host gives none, which is told aloud */
export function runAlone(t: TestContext, alone: Alone): readonly string[] | undefined {
  const { namespaces, setUp, given = [], program, words } = alone;
  const script = `ip link set lo up && ${setUp} && shift ${given.length} && exec "$@"`;
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", fileURLToPath(program)];
  const command = [namespaces, "sh", "-c", script, "sh", ...given, ...node, ...words];
  const { status, stdout, stderr } = spawnSync("unshare", command, { encoding: "utf8", timeout: 30_000 });
  if (/unshare failed|Operation not permitted/.test(stderr)) {
    t.skip(`no namespaces of its own: ${stderr}`);
    return undefined;
  }
  assert.equal(status, 0, stderr);
  return stdout.trim().split("\n");
}
