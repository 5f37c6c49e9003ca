import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, openSync, readSync, unlinkSync } from "node:fs";
import type { Readable } from "node:stream";
import { GateError } from "../../../contract/errors.ts";
import { FD } from "../../launcher.ts";
import { openForReading, openForWriting } from "../../pipes.ts";
import type { Parts } from "./cell.ts";
import { launcherDescriptor } from "./plan.ts";

const BWRAP = "/usr/bin/bwrap";
const MESSAGE_BYTES_MAX = 2_000;

/** The gateway's ends of a sandbox's descriptors. */
export interface Ends {
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
  readonly request: number;
}

/** Starts bubblewrap with every descriptor in its place; descriptors this process was itself given are covered. */
export function spawnBubblewrap(parts: Parts): { readonly child: ChildProcess; readonly ends: Ends } {
  const opened: number[] = [];
  const open = (path: string, flags: number, mode?: number): number => {
    const fd = openSync(path, flags, mode);
    opened.push(fd);
    return fd;
  };
  const [input, output, errors] = parts.pipes;
  if (input === undefined || output === undefined || errors === undefined) {
    throw new GateError("ERR_INTERNAL", "a sandbox needs three pipes");
  }
  const stdin = openForWriting(input.path);
  const stdout = openForReading(output.path);
  const stderr = openForReading(errors.path);
  opened.push(stdin.read, stdout.write, stderr.write);
  const request = openSync(parts.requestPath, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  unlinkSync(parts.requestPath);
  const stdio: (number | "pipe" | "ignore")[] = [
    stdin.read,
    stdout.write,
    stderr.write,
    "pipe",
    "pipe",
    request,
  ];
  stdio[FD.seccomp] = open(parts.seccomp.path, constants.O_RDONLY);
  for (const [index, path] of parts.files.entries()) stdio[FD.data + index] = open(path, constants.O_RDONLY);
  if (parts.launcher !== undefined)
    stdio[launcherDescriptor(parts.plan.files)] = open(parts.launcher, constants.O_RDONLY);
  cover(stdio, parts.stray, () => open("/dev/null", constants.O_RDONLY));
  try {
    const [program = BWRAP, ...args] = [...parts.staging, BWRAP, ...parts.plan.args];
    const steppedBack = process.geteuid?.() === 0 && parts.staging.length === 0;
    const identity = steppedBack ? { uid: parts.user.uid, gid: parts.user.gid } : {};
    const child = spawn(program, args, { stdio, env: {}, cwd: "/", ...identity });
    return { child, ends: { stdin: stdin.write, stdout: stdout.read, stderr: stderr.read, request } };
  } catch (error) {
    for (const fd of [stdin.write, stdout.read, stderr.read, request]) closeSync(fd);
    throw error;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Lays `/dev/null` over the descriptors that bubblewrap would otherwise inherit from this process. */
function cover(
  stdio: (number | "pipe" | "ignore")[],
  stray: readonly number[],
  openNothing: () => number,
): void {
  const exposed = stray.filter((fd) => stdio[fd] === undefined);
  if (exposed.length === 0) return;
  const nothing = openNothing();
  for (const fd of exposed) stdio[fd] = nothing;
  for (let fd = 0; fd < stdio.length; fd += 1) stdio[fd] ??= "ignore";
}

/** The host's pid of the sandbox's first process, from bubblewrap's `--info-fd`. The JSON arrives in pieces. */
export function readInfo(child: ChildProcess): Promise<number> {
  const stream = child.stdio[FD.info] as Readable;
  let text = "";
  return new Promise((done) => {
    stream.on("data", (chunk: Buffer) => {
      text += chunk;
      const pid = Number(/"child-pid"\s*:\s*(\d+)/.exec(text)?.[1]);
      if (pid > 0 && text.trimEnd().endsWith("}")) done(pid);
    });
    stream.on("error", () => {}); // bubblewrap died; its exit says so
  });
}

/** What a failed bubblewrap wrote to standard error. */
export function drain(fd: number): string {
  const buffer = Buffer.alloc(MESSAGE_BYTES_MAX);
  try {
    return buffer.toString("utf8", 0, readSync(fd, buffer)).trim().replaceAll("bwrap: ", "");
  } catch {
    return ""; // nothing was written
  }
}
