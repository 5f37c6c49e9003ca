import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { encodeRequest, FD, LAUNCHER } from "./launcher.ts";
import { nativeProgram } from "./native.ts";

/** A launcher as it is started outside any sandbox. */
export interface LauncherUnderTest {
  readonly name: string;
  /** Undefined where it was not built. */
  readonly command: readonly string[] | undefined;
}

const built = nativeProgram("launch");

export const NATIVE: LauncherUnderTest = {
  name: "native",
  command: built === undefined ? undefined : [built],
};
export const BASH: LauncherUnderTest = {
  name: "bash",
  command: ["/usr/bin/bash", "--norc", "--noprofile", "-c", LAUNCHER, "launcher"],
};

export interface Launched {
  /** Everything it said on its control socket. */
  readonly said: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
}

interface Request {
  readonly argv?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Instead of a request that is made as it should be. */
  readonly bytes?: Uint8Array;
  readonly options?: readonly string[];
  /** What is sent once it is ready; unset: `g`. Null: the channel is closed instead. */
  readonly go?: string | null;
}

/** Starts a launcher, lets it go once it says that it is ready, and waits for its end. */
export async function launch({ command }: LauncherUnderTest, request: Request): Promise<Launched> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-launch-"));
  const path = join(folder, "request");
  const { argv = ["true"], environment = { PATH: "/usr/bin" }, options = [], go = "g" } = request;
  writeFileSync(path, request.bytes ?? encodeRequest(environment, argv));
  const [program = "", ...words] = command ?? [];
  const stdio: ("ignore" | "pipe" | "inherit" | number)[] = ["ignore", "pipe", "inherit", "pipe", "ignore"];
  stdio[FD.request] = openSync(path, "r");
  try {
    const child = spawn(program, [...words, ...options], { stdio, env: {}, cwd: "/" });
    const control = child.stdio[FD.control] as Duplex;
    let said = "";
    let stdout = "";
    (child.stdout as Readable).on("data", (chunk: Buffer) => (stdout += chunk));
    control.on("error", () => {});
    control.on("data", (chunk: Buffer) => {
      const before = said;
      said += chunk;
      if (/^R$/m.test(before) || !/^R$/m.test(said)) return;
      if (go === null) control.destroy();
      else control.write(go);
    });
    return await new Promise((done, fail) => {
      child.on("error", fail);
      child.on("close", (code, signal) => done({ said, code, signal, stdout }));
    });
  } finally {
    closeSync(stdio[FD.request] as number);
    rmSync(folder, { recursive: true });
  }
}
