import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { GateError } from "../contract/errors.ts";
import type { Profile } from "../contract/profile.ts";
import type { DriverHost } from "../sandbox/drivers/registry.ts";
import type { Ground } from "./attempt.ts";
import { inheriting } from "./outside.ts";
import type { Ending, Seen } from "./probe.ts";

/** What a gate in another process is told: one JSON argument. */
export interface InheritingRequest {
  readonly registry: string;
  readonly driver: string;
  readonly host: DriverHost;
  readonly profile: Profile;
  readonly argv: readonly string[];
}

/** What it answers: one JSON value on its standard output; bytes as base64. */
export interface InheritingAnswer {
  readonly ending: Ending;
  readonly stdout: string;
  readonly stderr: string;
}

const GATE = new URL(
  import.meta.url.endsWith(".ts") ? "./inheriting-gate.ts" : "./inheriting-gate.js",
  import.meta.url,
);

/**
 * Runs a program in a sandbox of a gate that was itself started with an open descriptor: this process has none to
 * leave open, because Node closes its own on every start of a program.
 */
export async function runInheriting(
  driver: string,
  profile: Profile,
  argv: readonly string[],
  { registry, own, user, host }: Ground,
  inherits: string,
): Promise<Seen> {
  const request: InheritingRequest = {
    registry,
    driver,
    host: { ...host, folder: join(own, "inheriting"), user },
    profile,
    argv,
  };
  const fd = openSync(inherits, "r");
  const child = spawn(process.execPath, [...process.execArgv, GATE.pathname, JSON.stringify(request)], {
    stdio: inheriting(["ignore", "pipe", "pipe"], fd),
  });
  closeSync(fd);
  const said = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (said.stdout += chunk.toString("utf8")));
  child.stderr?.on("data", (chunk: Buffer) => (said.stderr += chunk.toString("utf8")));
  await once(child, "close");
  if (!said.stdout.startsWith("{")) {
    throw new GateError(
      "ERR_INTERNAL",
      `a gate in another process gave no answer: ${said.stderr.slice(-300)}`,
    );
  }
  const answer = JSON.parse(said.stdout) as InheritingAnswer;
  const bytes = (text: string): Buffer => Buffer.from(text, "base64");
  return { ending: answer.ending, stdout: bytes(answer.stdout), stderr: bytes(answer.stderr), wallMs: 0 };
}
